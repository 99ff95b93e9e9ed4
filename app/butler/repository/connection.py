"""Open a Butler repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lsst.daf.butler import Butler, ButlerConfig
from lsst.resources import ResourcePath
from sqlalchemy import URL, make_url

from app.butler.away import database_of, is_away, unmounted
from app.butler.descriptions import describe, describe_with_type
from app.butler.failures import exception_chain
from app.butler.logins import refusal_of
from app.butler.policy import WritePolicy
from app.butler.private.registry import engine_of
from app.butler.sessions.prepare import prepare_sessions
from app.errors import OperatorError, UnavailableError

__all__ = ["RepositoryError", "open_butler", "opening"]

#: libpq parameters (PostgreSQL manual, 34.1.2) with which the loss of a server is noticed within
#: about a minute instead of two hours.  They affect only the client's side of the connection, not a
#: connection pooler in between.
_KEEPALIVES = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


class RepositoryError(OperatorError):
    """The Butler repository cannot be opened, or not be used with this configuration."""


class RepositoryAwayError(RepositoryError, UnavailableError):
    """The repository's database or its store is away."""


def open_butler(repository: str, policy: WritePolicy, *, writeable: bool = True) -> Butler:
    """Open a repository.

    Parameters
    ----------
    repository : `str`
        Path, URI or alias of the repository.
    policy : `WritePolicy`
        The limits on SQL statements.
    writeable : `bool`
        Whether to open it for writing.

    Raises
    ------
    RepositoryError
        If it cannot be opened.
    """
    with opening(repository):
        config = ButlerConfig(repository)
        url = make_url(config["registry", "db"]) if ("registry", "db") in config else None
        if url is not None and url.get_backend_name() == "postgresql":
            config["registry", "db"] = _with_keepalives(url)
        butler = Butler.from_config(config, writeable=writeable)
        prepare_sessions(engine_of(butler), policy)
    return butler


@contextmanager
def opening(repository: str) -> Iterator[None]:
    """Turn an error that opening a repository raises into one line.

    Parameters
    ----------
    repository : `str`
        Path, URI or alias of the repository.

    Raises
    ------
    RepositoryError
        If the block raises an exception; an `UnavailableError` as well if the error may pass.
    """
    try:
        yield
    except OperatorError:
        raise
    except Exception as exc:
        missing = next(
            (cause for cause in exception_chain(exc) if isinstance(cause, ImportError)), None
        )
        if missing is not None:
            raise RepositoryError(
                f"the configuration of the repository {repository!r} needs a package that is not "
                f"installed: {describe(missing)}.  This service runs without the LSST stack; "
                "remove what needs the stack from the configuration"
            ) from exc
        refusal = refusal_of(exc)
        reason = f"cannot open the repository {repository!r}: {refusal or describe_with_type(exc)}"
        if is_away(exc):
            dependency = "the database" if database_of(exc) else "the store"
            raise RepositoryAwayError(reason, dependency) from exc
        if isinstance(exc, FileNotFoundError) and (empty := _empty_folder_of(repository)):
            raise RepositoryAwayError(
                f"{reason}; {empty} is empty: is it mounted?", "the store"
            ) from exc
        if refusal is None:
            remedy = "its login and its database" if database_of(exc) else "BUTLER_REPOSITORY"
            reason = f"{reason}; check {remedy}"
        raise RepositoryError(reason) from exc


def _empty_folder_of(repository: str) -> Path | None:
    if not repository.startswith(("/", "file:")):
        return None  # perhaps an alias
    return unmounted(Path(ResourcePath(repository).ospath))


def _with_keepalives(url: URL) -> str:
    missing = {name: value for name, value in _KEEPALIVES.items() if name not in url.query}
    return url.update_query_dict(missing).render_as_string(hide_password=False)
