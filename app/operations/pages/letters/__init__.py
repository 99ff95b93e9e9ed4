"""What the pages show of the dead letters, which are read from Kafka."""
