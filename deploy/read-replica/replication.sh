#!/bin/sh
# For the PostgreSQL image's /docker-entrypoint-initdb.d: allow the standby to replicate.  In
# pg_hba.conf, the database "all" does not include replication.
set -eu
echo "host replication standby all scram-sha-256" >> "$PGDATA/pg_hba.conf"
