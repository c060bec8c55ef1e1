"""What photos come from: archives, folders and lists that nobody vouches for, read within limits."""
