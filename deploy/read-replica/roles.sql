-- What the primary needs for a standby, and for pods that read there.  Run it once, as a superuser:
-- roles, rights and passwords reach the standby with everything else.

-- The standby connects with this one.
CREATE ROLE standby WITH LOGIN REPLICATION PASSWORD 'standby';

-- Keeps what the standby has not received yet; nothing, as long as it has never connected.
SELECT pg_create_physical_replication_slot('standby');

-- The pods connect with this one.  The right covers the tables of dataset types yet to come, which
-- GRANT SELECT ON ALL TABLES does not.
CREATE ROLE pod WITH LOGIN PASSWORD 'pod';
GRANT pg_read_all_data TO pod;
ALTER ROLE pod SET default_transaction_read_only = on;
