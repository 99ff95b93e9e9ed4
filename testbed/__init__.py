"""The real things that tests, the demo and the benchmarks run against.

Each part is a plain class that is also a context manager: entering it starts it on a free
port in a temporary folder, leaving it stops it and removes the folder. No part needs pytest;
the fixtures in ``tests/conftest.py`` are thin wrappers.
"""
