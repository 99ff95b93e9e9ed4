"""What `faust -A app status` shows: who is in the group, how far behind it is, what workers say."""
