-- name: local_settings
-- Settings of one transaction: texts of times in one style and zone, how long to wait, and how long
-- the transaction may lie open without a statement: its locks must not outlive a client that sleeps.
SELECT
    set_config('TimeZone', 'UTC', true),
    set_config('DateStyle', 'ISO, YMD', true),
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('idle_in_transaction_session_timeout', %(idle_timeout)s, true);
