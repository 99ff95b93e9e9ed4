#!/bin/sh
# For the PostgreSQL image's /docker-entrypoint-initdb.d: let the standby in.  "all" does not.
set -eu
echo "host replication standby all scram-sha-256" >> "$PGDATA/pg_hba.conf"
