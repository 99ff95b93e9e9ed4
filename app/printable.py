"""Text for a terminal: nothing in it moves the cursor, changes colours or reorders the line."""

from __future__ import annotations

import re

__all__ = ["printable", "without_logins"]

#: Control characters, and those that change the direction or the end of a line, or are invisible;
#: and halves of characters, which cannot be encoded.
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)

#: A name and a password in a URI, or a password among its parameters.  The password may have any
#: character, as for SQLAlchemy; the lengths are bounded, so that a long text takes no long time.
_LOGIN = re.compile(
    r"(?<=://)[^\s/@:'\"]{0,100}:[^\s'\"]{0,200}@|(?<=password=)[^\s&;,'\"]+", re.IGNORECASE
)


def without_logins(text: str) -> str:
    """Return text with ``...`` in place of each name and password in a URI."""
    return _LOGIN.sub(lambda found: "...@" if found[0].endswith("@") else "...", text)


def printable(text: str, *, keep: str = "") -> str:
    r"""Return text with an escape, such as ``\x1b``, for each character that a terminal obeys.

    A name and a password in a URI are replaced by ``...``.

    Parameters
    ----------
    text : `str`
        Any text, such as a name that a message contains.
    keep : `str`, optional
        Characters that stay as they are, such as the newlines of a document.
    """
    return _OBEYED.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(),
        without_logins(text),
    )
