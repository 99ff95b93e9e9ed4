"""What the worker says of itself: log, metrics, status."""
