"""Sessions of PostgreSQL: their limits, what is sent in one message, and whether they answer."""
