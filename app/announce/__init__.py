"""What is sent downstream of a write."""
