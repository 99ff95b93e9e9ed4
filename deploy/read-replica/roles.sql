-- What the primary needs for a standby and for pods that read from it.  Run it once, as a superuser:
-- roles, rights and passwords are replicated to the standby like everything else.

-- The role of the standby.
CREATE ROLE standby WITH LOGIN REPLICATION PASSWORD 'standby';

-- Keeps the WAL that the standby has not received yet.  It keeps nothing before the standby has
-- connected for the first time.
SELECT pg_create_physical_replication_slot('standby');

-- The role of the pods.  pg_read_all_data includes the tables of dataset types that are registered
-- later; GRANT SELECT ON ALL TABLES does not.
CREATE ROLE pod WITH LOGIN PASSWORD 'pod';
GRANT pg_read_all_data TO pod;
ALTER ROLE pod SET default_transaction_read_only = on;
