"""Open the repository."""

from __future__ import annotations

from lsst.daf.butler import Butler, ButlerConfig
from sqlalchemy import URL, make_url

from app.butler.failures import causes, describe
from app.butler.policy import WritePolicy
from app.butler.private.registry import engine_of
from app.butler.repository.sessions import prepare_sessions
from app.errors import OperatorError

__all__ = ["RepositoryError", "open_butler"]

#: libpq parameters (PostgreSQL manual, 34.1.2) by which a server that vanished without a word is
#: noticed within about a minute instead of two hours.  They are the client's alone: a connection
#: pooler in between sees nothing of them.
_KEEPALIVES = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


class RepositoryError(OperatorError):
    """The Butler repository cannot be opened or used as it is configured."""


def open_butler(repository: str, policy: WritePolicy, *, writeable: bool = True) -> Butler:
    """Open a repository.

    Parameters
    ----------
    repository : `str`
        Path, URI or alias of the repository.
    policy : `WritePolicy`
        How long a statement may run and wait.
    writeable : `bool`
        Whether it is to be written to.

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
        missing = next((cause for cause in causes(exc) if isinstance(cause, ImportError)), None)
        if missing is not None:
            raise RepositoryError(
                f"the configuration of the repository {repository!r} needs what is not installed: "
                f"{describe(missing)}.  This service runs without the LSST stack; "
                "take what needs the stack out of the configuration that it is given"
            ) from exc
        raise RepositoryError(
            f"cannot open the repository {repository!r}: {type(exc).__name__}: {describe(exc)}"
        ) from exc
    return butler


def _with_keepalives(url: URL) -> str:
    missing = {name: value for name, value in _KEEPALIVES.items() if name not in url.query}
    return url.update_query_dict(missing).render_as_string(hide_password=False)
