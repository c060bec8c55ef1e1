"""A second model for a collection: vectors made beside the first, compared, switched to."""
