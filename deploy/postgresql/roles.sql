-- The least rights that a worker needs in the repository's database.  Run it in this database as
-- the owner of the repository's tables, with the right to create roles, once the repository exists;
-- and again after each migration of the repository.  To run it again changes nothing else.

DO $$
BEGIN
    CREATE ROLE butler_writer WITH LOGIN PASSWORD 'butler_writer';
EXCEPTION
    WHEN duplicate_object THEN NULL;
END
$$;

-- Everybody has these two unless an administrator has taken them away.  Temporary tables are made
-- by Butler's own queries, which some commands use.
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO butler_writer', current_database());
END
$$;

GRANT USAGE ON SCHEMA public TO butler_writer;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO butler_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO butler_writer;

-- To put a run into a chain, the chain is locked and its children are moved.
GRANT UPDATE ON collection TO butler_writer;
GRANT DELETE ON collection_chain TO butler_writer;

-- For the tables of dataset types that the owner registers later.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO butler_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO butler_writer;

-- Only if workers may register dataset types whose dimensions no other dataset type has: these need
-- tables of their own, which refer to others, and Butler locks two tables meanwhile.  Without these
-- rights, such an event becomes a dead letter with the cause missing_right, and all others are
-- written.
-- GRANT CREATE ON SCHEMA public TO butler_writer;
-- GRANT REFERENCES ON ALL TABLES IN SCHEMA public TO butler_writer;
-- GRANT UPDATE ON dimension_graph_key, dimension_graph_definition TO butler_writer;
