"""The roles that the files roles.sql make: they have no more rights than workers need."""

from __future__ import annotations

import re
from pathlib import Path

from testbed.worker import CHECKOUT

__all__ = [
    "DOWNSTREAM_ROLE",
    "DOWNSTREAM_ROLES",
    "DROP_ROLE",
    "NEW_TYPES",
    "ROLE",
    "ROLES",
    "drop_role",
    "use_role",
]

ROLE = "butler_writer"

#: The file's statements.
ROLES = (CHECKOUT / "deploy" / "postgresql" / "roles.sql").read_text()

#: Those that the file has as comments: for dataset types that need tables.
NEW_TYPES = "".join(re.findall(r"^-- (GRANT .*;)$", ROLES, re.MULTILINE))

DOWNSTREAM_ROLE = "butler_downstream"

#: The statements of the file for downstream repositories.
DOWNSTREAM_ROLES = (CHECKOUT / "deploy" / "downstream" / "roles.sql").read_text()


def drop_role(role: str) -> str:
    """Return what takes a role away again; other databases must not refer to it any more."""
    return f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}"


DROP_ROLE = drop_role(ROLE)


def use_role(repository: Path, role: str = ROLE) -> None:
    """Let those who open a repository on PostgreSQL log in as a role."""
    config = repository / "butler.yaml"
    config.write_text(re.sub(r"(?<=postgresql://)\w+(?=@)", role, config.read_text()))
