"""The role that deploy/postgresql/roles.sql makes: it has no more rights than a worker needs."""

from __future__ import annotations

import re
from pathlib import Path

from testbed.worker import CHECKOUT

__all__ = ["DROP_ROLE", "NEW_TYPES", "ROLE", "ROLES", "use_role"]

ROLE = "butler_writer"

#: The file's statements.
ROLES = (CHECKOUT / "deploy" / "postgresql" / "roles.sql").read_text()

#: Those that the file has as comments: for dataset types that need tables.
NEW_TYPES = "".join(re.findall(r"^-- (GRANT .*;)$", ROLES, re.MULTILINE))

#: Takes the role away again.  Other databases must not refer to it any more.
DROP_ROLE = f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}"


def use_role(repository: Path) -> None:
    """Let those who open a repository on PostgreSQL log in as the role."""
    config = repository / "butler.yaml"
    config.write_text(re.sub(r"(?<=postgresql://)\w+(?=@)", ROLE, config.read_text()))
