-- The least rights that a worker with BUTLER_WRITER_ROLE=replicate needs in the database of its
-- downstream repository.  Run it in this database as the owner of the repository's tables, with the
-- right to create roles, once the repository exists; and again after each migration of the
-- repository.  To run it again changes nothing else.  In the database of the source, a worker of
-- this role needs no right.

DO $$
BEGIN
    CREATE ROLE butler_downstream WITH LOGIN PASSWORD 'butler_downstream';
EXCEPTION
    WHEN duplicate_object THEN NULL;
END
$$;

-- Everybody has these two unless an administrator has taken them away.  Temporary tables are made
-- by Butler's own queries, which some commands use.
DO $$
BEGIN
    EXECUTE format(
        'GRANT CONNECT, TEMPORARY ON DATABASE %I TO butler_downstream', current_database()
    );
END
$$;

GRANT USAGE ON SCHEMA public TO butler_downstream;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO butler_downstream;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO butler_downstream;

-- How often something was removed: workers read it, `products withdraw` and `leftovers` count.
REVOKE INSERT ON butler_attributes FROM butler_downstream;

-- To put a run into a chain, the chain is locked and its children are moved.
GRANT UPDATE ON collection TO butler_downstream;
GRANT DELETE ON collection_chain TO butler_downstream;

-- Dataset types of the source that are missing are registered.  Those whose dimensions no other one
-- has need tables of their own, which refer to others, and Butler locks two tables meanwhile.
GRANT CREATE ON SCHEMA public TO butler_downstream;
GRANT REFERENCES ON ALL TABLES IN SCHEMA public TO butler_downstream;
GRANT UPDATE ON dimension_graph_key, dimension_graph_definition TO butler_downstream;

-- Those tables belong to the role.  The owner of the others may use them too, such as for
-- `products withdraw`.
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'butler_downstream', 'USAGE') THEN
        GRANT butler_downstream TO CURRENT_USER;
    END IF;
END
$$;

-- For the tables of dataset types that the owner registers later.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO butler_downstream;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO butler_downstream;

-- For those who read the repository, once for each of their roles: they may read the tables that
-- workers make later.
-- ALTER DEFAULT PRIVILEGES FOR ROLE butler_downstream IN SCHEMA public GRANT SELECT ON TABLES TO reader;

-- Only with BUTLER_WRITER_TAG, for each table of tags that the owner has made (dataset_tags_...):
-- another dataset can lose its tag.
-- GRANT DELETE ON dataset_tags_00000000 TO butler_downstream;

-- Only with BUTLER_WRITER_CHANGED_RECORDS=replace: `faust -A app check` names the statements.
