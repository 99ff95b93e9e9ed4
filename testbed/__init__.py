"""The servers and workers that tests, the demo and the benchmarks use.

Each is a plain class that is also a context manager: entering it starts the server on a free
port, in a temporary folder; leaving it stops the server and removes the folder. None needs
pytest; the fixtures in ``tests/conftest.py`` are thin wrappers.
"""
