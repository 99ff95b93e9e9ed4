"""The repository: how it is opened, and what is looked up in it."""
