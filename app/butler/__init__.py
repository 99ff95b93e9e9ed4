"""The Butler write: writes windows of events into a Butler repository."""
