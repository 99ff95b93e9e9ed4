"""The wire contract: events, announcements, chain updates and dead letters.

Nothing is imported here: the Butler write needs `models.errors`, `models.causes` and
`models.fields`, and these must not import Faust.
"""
