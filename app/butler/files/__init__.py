"""Artifacts: checked, listed, copied out of staging."""
