"""The content of one transaction, and two ways to insert it."""
