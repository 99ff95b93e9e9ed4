"""Set the offsets of a stopped group: back, or past one event."""
