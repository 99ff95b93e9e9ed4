"""Where reading starts, and whether the log is still the one that was read before."""
