"""What has been received and is not yet written: ledger and windows.  Pure."""
