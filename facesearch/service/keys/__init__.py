"""Who may do what, how often, and the log of who did."""
