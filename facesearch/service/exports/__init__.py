"""Collections as files: written, read and restored."""
