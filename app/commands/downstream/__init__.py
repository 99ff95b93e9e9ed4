"""Commands for the product log and for downstream repositories."""
