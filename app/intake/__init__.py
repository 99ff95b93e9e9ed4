"""Events that were received and are not yet written: ledger and windows.  Pure."""
