"""The environment variables that a worker's libraries read."""

from __future__ import annotations

__all__ = ["LIBRARY_VARIABLES"]

#: Variables of lsst.resources, daf_butler and PostgreSQL's client.
LIBRARY_VARIABLES = {
    "AWS_PROFILE",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_SHARED_CREDENTIALS_FILE",
    "LSST_DB_AUTH",
    "PGPASSWORD",
    "PGSSLMODE",
    "PGUSER",
    "S3_ENDPOINT_URL",
}
