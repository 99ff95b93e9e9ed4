"""Commands that change the offsets of a stopped group."""
