"""The content of the product log: what another repository needs of what was written."""
