"""Files to which S3 denies access: missing, or not readable.

Without the right ``s3:ListBucket``, S3 denies access to a file that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog
from botocore.exceptions import ClientError
from lsst.resources import ResourcePath

from app.butler.away import StoreError, is_away
from app.butler.descriptions import describe
from app.butler.failures import Failure
from app.butler.files.listing import list_some
from app.butler.logins import refused_login
from app.butler.outcome import Failed, Rejection
from models.causes import Cause

__all__ = [
    "alarm_about_listing",
    "check_denied",
    "check_logins",
    "is_denied",
    "missing_or_unreadable",
]

logger = structlog.get_logger("butler_writer")


def is_denied(uri: ResourcePath) -> bool:
    """Tell whether S3 denies access to a file."""
    if uri.scheme != "s3":
        return False
    try:
        uri.exists()
    except PermissionError:
        return True
    return False


def check_logins(roots: Iterable[ResourcePath]) -> None:
    """Tell a refused login from a missing right: S3 tells only in its answer to a listing.

    Raises
    ------
    StoreError
        If a store refuses the login, or all requests.
    """
    for root in roots:
        if root.scheme == "s3":
            try:
                next(list_some(root, "", 1), None)
            except ClientError as exc:
                if (refusal := refused_login(exc)) is not None:
                    raise StoreError(refusal, alarm=True) from exc
                if is_away(exc):  # the clock of this machine is wrong, for example
                    raise StoreError(f"{root}: {describe(exc)}", alarm=True) from exc


def check_denied(
    denied: Mapping[ResourcePath, ResourcePath], known: Mapping[ResourcePath, ResourcePath]
) -> None:
    """Check that S3 denies access to some staged files only (rule fault-decided-by-evidence).

    Parameters
    ----------
    denied, known : `~collections.abc.Mapping`
        For each staging root, a file to which S3 denied access, and one that could be read.

    Raises
    ------
    StoreError
        If none can be read, so that no file is known to be missing.
    """
    check_logins(denied)
    for root, file in denied.items():
        if root not in known or is_denied(known[root]):
            raise StoreError(
                f"the staging area denies access (403) to {file}, which is missing or not "
                "readable; check the credentials, and that they have the rights s3:GetObject "
                "and s3:ListBucket",
                alarm=True,
            )


def alarm_about_listing(root: ResourcePath, denied: ResourcePath, files: int) -> None:
    """Log that it is not known whether some files of a store exist."""
    logger.error(
        "S3 denies access to files that may be missing: the credentials lack the right "
        "s3:ListBucket, so that it does not tell",
        right="s3:ListBucket",
        store=str(root),
        file=str(denied),
        files=files,
    )


def missing_or_unreadable(uris: Sequence[str], denied: str) -> Failed:
    """Return the failure of an event that lacks some files, one of which is denied."""
    more = f" (and {len(uris) - 1} more)" if len(uris) > 1 else ""
    reason = (
        f"{denied} is missing, or not readable: the credentials lack s3:ListBucket, so S3 "
        f"answers 403 in both cases{more}"
    )
    return Failed(Rejection(Cause.MISSING_FILE, reason), Failure.REJECT)
