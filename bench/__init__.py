"""The benchmarks.  They alternate what they compare in one run, and verify what was written."""
