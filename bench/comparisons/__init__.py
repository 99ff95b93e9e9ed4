"""The comparisons, one per module; each has a function `run`."""
