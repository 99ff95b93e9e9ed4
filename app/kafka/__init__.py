"""Kafka, below Faust and beside it: the only code that knows aiokafka."""
