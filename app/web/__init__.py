"""Pages of the worker's web server."""
