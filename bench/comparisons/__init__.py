"""The comparisons, one a module; each has a function `run`."""
