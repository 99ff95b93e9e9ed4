"""What the pages show of all workers together: asked of Kafka and of each worker."""
