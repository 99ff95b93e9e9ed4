"""What the commands for the product log and for downstream repositories do."""
