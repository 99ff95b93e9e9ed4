"""What one transaction inserts, and how."""
