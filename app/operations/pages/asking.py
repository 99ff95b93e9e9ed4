"""Asks the pages of all workers at the same time; who does not answer in time is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError

from app.butler.descriptions import describe

__all__ = ["LONGEST_NAME", "NoAnswer", "ask_pages"]

T = TypeVar("T")

#: The longest name that is asked for, in bytes of UTF-8.  Quoted, each may have three characters,
#: and a server takes a line of 8190.
LONGEST_NAME = 2000

#: Seconds that a worker gets to answer while somebody looks at a page.
_ANSWER_SECONDS = 1.0

#: The longest answer that is read, in bytes: another service may be at the address.
_LONGEST = 8 * 1024 * 1024


class NoAnswer(Exception):  # noqa: N818 - it is no error of this worker
    """A worker did not answer; the text says why, in one sentence."""


async def ask_pages(
    workers: Iterable[str], path: str, kind: TypeAdapter[T], seconds: float = _ANSWER_SECONDS
) -> dict[str, T | NoAnswer]:
    """Ask the same page of several workers.

    Parameters
    ----------
    workers : `~collections.abc.Iterable` [`str`]
        The addresses of their pages.
    path : `str`
        The page, such as ``/state``.
    kind : `pydantic.TypeAdapter`
        Of the answer.
    seconds : `float`, optional
        How long each worker gets to answer.

    Returns
    -------
    answers : `dict` [`str`, `T` or `NoAnswer`]
        What each has answered.
    """
    names = list(dict.fromkeys(workers))
    if not names:
        return {}
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        texts = await asyncio.gather(*(_ask(session, name + path, seconds) for name in names))
    answers: dict[str, T | NoAnswer] = {}
    for name, text in zip(names, texts, strict=True):
        if isinstance(text, NoAnswer):
            answers[name] = text
            continue
        try:
            answers[name] = kind.validate_json(text)
        except ValidationError:
            answers[name] = NoAnswer("Its answer is not that of a worker of this release.")
    return answers


async def _ask(session: aiohttp.ClientSession, url: str, seconds: float) -> bytes | NoAnswer:
    try:
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                return NoAnswer(f"It answers with the status {answer.status}.")
            # A shorter answer raises an error that has it; of a longer one the rest is not read.
            return await answer.content.readexactly(_LONGEST)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    except TimeoutError:
        return NoAnswer(f"It has not answered within {seconds:g} s.")
    except aiohttp.ClientConnectorDNSError as exc:
        return NoAnswer(
            f"Its host name is not known here: {describe(exc)}; "
            "set BUTLER_WRITER_WEB_HOST to a name or an address that the other workers can reach."
        )
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        return NoAnswer(f"It cannot be reached: {describe(exc)}.")
