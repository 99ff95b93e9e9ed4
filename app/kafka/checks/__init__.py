"""What is checked of Kafka before a worker starts."""
