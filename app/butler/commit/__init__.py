"""Writes a prepared window: in one transaction, divided where events fail, by evidence."""
