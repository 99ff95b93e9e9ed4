"""Messages sent after a write: announcements, chain updates and dead letters."""
