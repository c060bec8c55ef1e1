"""The commands of `python3 -m facesearch`, one a module, and what several of them share."""
