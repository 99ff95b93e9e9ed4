"""The consumer group as an operator's command sees it, from outside."""
