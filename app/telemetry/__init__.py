"""Log, metrics and status of a worker."""
