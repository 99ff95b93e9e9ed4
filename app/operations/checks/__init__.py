"""What the command ``check`` looks at; a starting worker uses the same checks."""
