"""Open a Butler repository."""

from __future__ import annotations

from lsst.daf.butler import Butler, ButlerConfig
from sqlalchemy import URL, make_url

from app.butler.failures import describe, exception_chain
from app.butler.policy import WritePolicy
from app.butler.private.registry import engine_of
from app.butler.repository.sessions import prepare_sessions
from app.errors import OperatorError

__all__ = ["RepositoryError", "open_butler"]

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
    try:
        config = ButlerConfig(repository)
        url = make_url(config["registry", "db"]) if ("registry", "db") in config else None
        if url is not None and url.get_backend_name() == "postgresql":
            config["registry", "db"] = _with_keepalives(url)
        butler = Butler.from_config(config, writeable=writeable)
        prepare_sessions(engine_of(butler), policy)
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
        raise RepositoryError(
            f"cannot open the repository {repository!r}: {type(exc).__name__}: {describe(exc)}"
        ) from exc
    return butler


def _with_keepalives(url: URL) -> str:
    missing = {name: value for name, value in _KEEPALIVES.items() if name not in url.query}
    return url.update_query_dict(missing).render_as_string(hide_password=False)
