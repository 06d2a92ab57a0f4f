"""The fixed statements. What a server of this version does not have is not asked for; what this login may not see is named, not guessed."""

from __future__ import annotations

PG14, PG17 = 140000, 170000

_STATUS = """
SELECT pg_is_in_recovery() AS in_recovery,
 (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
 CASE WHEN pg_is_in_recovery()
  THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()))
  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
 current_setting('server_version') AS version,
 pg_postmaster_start_time() AS started,
 CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn()::text END AS current,
 pg_last_wal_receive_lsn()::text AS received,
 pg_last_wal_replay_lsn()::text AS replayed,
 CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS replay_paused,
 pg_last_xact_replay_timestamp() AS last_replay_at,
 (SELECT json_build_object('status', status, 'host', sender_host, 'port', sender_port, 'flushed', {flushed}::text, 'latest', latest_end_time)
  FROM pg_stat_wal_receiver) AS receiver,
 (SELECT coalesce(json_agg(json_build_object('name', application_name, 'state', state, 'sync', sync_state, 'sent', sent_lsn::text,
   'write', write_lsn::text, 'flush', flush_lsn::text, 'replay', replay_lsn::text, 'lag', extract(epoch FROM replay_lag),
   'address', host(client_addr)) ORDER BY application_name), '[]'::json) FROM pg_stat_replication) AS standbys,
 (SELECT json_build_object('archived', archived_count, 'wal', last_archived_wal, 'at', last_archived_time, 'failed', failed_count,
   'failed_wal', last_failed_wal, 'failed_at', last_failed_time) FROM pg_stat_archiver) AS archiver,
 (SELECT coalesce(json_agg(json_build_object('name', slot_name, 'active', active, 'kind', slot_type, 'status', wal_status, 'safe', safe_wal_size,
   'retained', CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) END) ORDER BY slot_name), '[]'::json)
  FROM pg_replication_slots) AS slots,
 CASE WHEN pg_has_role('pg_monitor', 'MEMBER') THEN (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend')
  ELSE (SELECT sum(numbackends)::int FROM pg_stat_database) END AS connections,
 current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS max_connections,
 (SELECT json_build_array(sum(xact_commit), sum(xact_rollback), sum(blks_hit), sum(blks_read)) FROM pg_stat_database) AS counters,
 {wal} AS wal_b,
 {checkpoints} AS checkpoints,
 current_setting('synchronous_standby_names') AS synchronous,
 EXISTS (SELECT FROM pg_settings WHERE pending_restart) AS pending_restart,
 (SELECT max(age(datfrozenxid)) FROM pg_database) AS xid_age,
 host(inet_server_addr()) || ':' || inet_server_port() AS listens,
 pg_has_role('pg_monitor', 'MEMBER') AS monitor,
 has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE') AS may_list,
 has_function_privilege('pg_ls_waldir()', 'EXECUTE') AS may_list_wal
"""


def status(server: int) -> str:
    """For a server of this version number (`server_version_num`)."""
    return _STATUS.format(
        flushed="flushed_lsn" if server >= 130000 else "received_lsn",
        wal="(SELECT wal_bytes::bigint FROM pg_stat_wal)" if server >= PG14 else "NULL::bigint",
        checkpoints="(SELECT num_timed + num_requested FROM pg_stat_checkpointer)"
        if server >= PG17
        else "(SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter)",
    )


REACHED = """
SELECT pg_is_in_recovery() AS in_recovery, (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
 current_setting('server_version') AS version, pg_postmaster_start_time() AS started, host(inet_server_addr()) || ':' || inet_server_port() AS listens
"""
"""Who answers. On a connection made for one question all that this touches has to be looked up first: the whole status would cost three times as much (6 ms of CPU)."""
NEWEST = "SELECT ('x' || max(substr(name, 1, 8)))::bit(32)::int AS timeline FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
"""The timeline of the newest WAL that a standby has, for one that receives none: its control file is old until a restartpoint."""
WAITING = "SELECT count(*)::int FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"

SESSIONS = """
WITH found AS MATERIALIZED (SELECT pid, backend_start, coalesce(datname, '') AS datname, coalesce(usename, '') AS usename, coalesce(application_name, '') AS app,
 coalesce(host(client_addr), '') AS address, coalesce(state, '') AS state,
 coalesce(wait_event_type || ': ' || wait_event, '') AS wait, xact_start, query_start, state_change,
 left(coalesce(query, ''), 1000) AS query,
 CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) ELSE '{}'::int[] END AS blocked_by, coalesce(backend_type, '') AS kind
FROM pg_stat_activity WHERE backend_start IS NOT NULL)
SELECT * FROM found WHERE pid <> pg_backend_pid()
 AND (kind NOT IN ('archiver', 'autovacuum launcher', 'background writer', 'checkpointer', 'io worker', 'logger', 'logical replication launcher',
   'slotsync worker', 'startup', 'walreceiver', 'walsummarizer', 'walwriter')
  OR pid IN (SELECT unnest(blocked_by) FROM found))
ORDER BY backend_start
"""
"""The server's own processes are left out, except one that holds others up; what extensions and subscriptions run is shown."""

_PLACE = "CASE WHEN p.datname = current_database() THEN p.relid::regclass::text ELSE p.relid::text END"
_VACUUM = """
SELECT p.pid, 'vacuum' AS what, p.datname, {place} AS relation, p.phase,
 CASE p.phase WHEN 'scanning heap' THEN p.heap_blks_scanned WHEN 'vacuuming heap' THEN p.heap_blks_vacuumed {indexes_done} ELSE 0 END AS done,
 CASE p.phase WHEN 'scanning heap' THEN p.heap_blks_total WHEN 'vacuuming heap' THEN p.heap_blks_total {indexes_total} ELSE 0 END AS total
 FROM pg_stat_progress_vacuum p
"""
_INDEXES = "WHEN 'vacuuming indexes' THEN p.indexes_{0} WHEN 'cleaning up indexes' THEN p.indexes_{0}"
_PROGRESS = f"""
UNION ALL SELECT p.pid, lower(p.command), p.datname, {_PLACE}, p.phase, p.heap_blks_scanned, p.heap_blks_total FROM pg_stat_progress_cluster p
UNION ALL SELECT p.pid, 'create index', p.datname, {_PLACE}, p.phase, p.blocks_done, p.blocks_total FROM pg_stat_progress_create_index p
"""
_PROGRESS_13 = f"""
UNION ALL SELECT p.pid, 'analyze', p.datname, {_PLACE}, p.phase, p.sample_blks_scanned, p.sample_blks_total FROM pg_stat_progress_analyze p
UNION ALL SELECT p.pid, 'basebackup', '', '', p.phase, p.backup_streamed, p.backup_total FROM pg_stat_progress_basebackup p
"""


def progress(server: int) -> str:
    """For a server of this version number. Done and total are those of the phase; 0 of 0 where it tells none."""
    indexes = {
        f"indexes_{part}": _INDEXES.format(part if part == "total" else "processed") if server >= PG17 else "" for part in ("done", "total")
    }
    vacuum = _VACUUM.format(place=_PLACE, **indexes)
    return vacuum + _PROGRESS + (_PROGRESS_13 if server >= 130000 else "")


DATABASES = """
SELECT d.datname,
 CASE WHEN has_database_privilege(d.datname, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'MEMBER') THEN pg_database_size(d.oid) END AS size,
 age(d.datfrozenxid) AS xid_age, mxid_age(d.datminmxid) AS mxid_age, coalesce(s.numbackends, 0) AS connections
FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid
ORDER BY xid_age DESC
"""

TABLES = """
WITH held AS MATERIALIZED (SELECT relation FROM pg_locks
  WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
SELECT current_database() AS database, s.schemaname, s.relname, s.n_live_tup, s.n_dead_tup,
 CASE WHEN NOT EXISTS (SELECT FROM held WHERE relation IN (s.relid, c.reltoastrelid)
   OR relation IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (s.relid, c.reltoastrelid))) THEN pg_total_relation_size(s.relid) END AS size,
 greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed, greatest(s.last_analyze, s.last_autoanalyze) AS analyzed,
 pg_get_userbyid(c.relowner) AS owner, quote_ident(s.schemaname) || '.' || quote_ident(s.relname) AS ident,
 ARRAY(SELECT quote_ident(n.nspname) || '.' || quote_ident(i.relname)
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace
  WHERE x.indrelid IN (s.relid, c.reltoastrelid) AND NOT x.indisvalid
   AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = x.indexrelid) ORDER BY 1) AS invalid
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
ORDER BY s.n_dead_tup DESC, s.relname
LIMIT %s
"""
"""The size of a table waits for whoever has it for himself, so it is not asked of such a one."""

CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"
PROBE = """
SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::bool AS read_only,
 coalesce(host(inet_server_addr()), '') || ':' || coalesce(inet_server_port(), 0) AS listens
"""
WRITE = "SELECT pg_logical_emit_message(true, 'coldtui', ''::text)"
"""A record in the WAL and no row: its commit is flushed, and waits for synchronous standbys, as any application's does. Everybody may call it."""
