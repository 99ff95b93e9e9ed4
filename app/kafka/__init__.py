"""Kafka: the only package that uses aiokafka."""
