"""The wire contract: events from pods, what is sent downstream, dead letters.

Nothing is imported here: the Butler write needs `models.errors`, `models.causes` and
`models.fields`, and these must not bring Faust with them.
"""
