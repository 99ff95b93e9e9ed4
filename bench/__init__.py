"""The benchmarks: what they compare is alternated in one run, and what was written is verified."""
