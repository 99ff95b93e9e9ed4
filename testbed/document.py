"""Documents in which a command writes the text between two markers."""

__all__ = ["insert"]


def insert(document: str, name: str, text: str) -> str:
    """Return a document in which a text replaces what is between two markers.

    Raises
    ------
    ValueError
        If the document does not have both markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = document.partition(begin)
    _, found_too, after = rest.partition(end)
    if not found or not found_too:
        raise ValueError(f"the document lacks {begin} or {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"
