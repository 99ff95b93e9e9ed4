"""The Butler write: the only code that knows Butler, and the one place that knows its failures."""
