"""Open a repository, look things up in it, and keep its chains and dataset types."""
