"""Importing many photos, as jobs."""
