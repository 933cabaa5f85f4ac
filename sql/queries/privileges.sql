-- name: ledger
-- Whether this user may write the ledger, and keep tables of our own beside it.
SELECT
    has_table_privilege(%(ledger)s::regclass, 'INSERT')
    AND has_table_privilege(%(ledger)s::regclass, 'UPDATE')
    AND has_table_privilege(%(ledger)s::regclass, 'DELETE') AS may_repair,
    CASE
        WHEN to_regclass('audit.finding') IS NOT NULL
        THEN has_table_privilege(to_regclass('audit.finding'), 'INSERT')
            AND has_table_privilege(to_regclass('audit.finding'), 'UPDATE')
        WHEN to_regnamespace('audit') IS NOT NULL
        THEN has_schema_privilege(to_regnamespace('audit'), 'CREATE')
        ELSE has_database_privilege(current_database(), 'CREATE')
    END AS may_record,
    current_user AS who;
