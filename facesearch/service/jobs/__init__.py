"""Working on jobs, whatever they are: who does one, until when, and what if the database goes meanwhile."""
