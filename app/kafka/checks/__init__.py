"""Checks of Kafka that run before a worker starts."""
