"""What a downstream repository gets, and when: release rules, embargo, what waits.  Pure."""
