"""The artifacts of events: the check that they exist, and the copy out of staging."""
