"""What commands and pages do, for operators."""
