#!/bin/sh
# Runs a standby in the PostgreSQL image.  The first start copies the primary, later ones use the copy.
# PRIMARY names the primary's host; PGPASSWORD is the password of the role standby.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    chmod 0700 "$PGDATA"
    pg_basebackup --host="$PRIMARY" --username=standby --pgdata="$PGDATA" \
        --slot=standby --wal-method=stream --write-recovery-conf
fi
# Without the feedback, the primary removes rows that a pod's query still reads, and the standby
# cancels that query.
exec postgres -c hot_standby_feedback=on
