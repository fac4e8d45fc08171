-- The database of clusterodm-py, whole: every table and every statement. `store/statements.py` cuts this file at the
-- lines "-- name: ...". While the server runs, look with `sqlite3 -readonly clusterodm.db` but do not change anything:
-- the server answers from memory and would neither see nor keep it.
--
-- Times are Unix seconds. Secrets are in clear here (node tokens must be sent to the nodes), hence file mode 0600.
-- A column is what is looked up, or what an operator asks for; the rest of a task is JSON in `rest`, for example:
--   SELECT id, state, node, datetime(created, 'unixepoch'), json_extract(rest, '$.error') FROM tasks;


-- Each section "schema_<n>" leads from version n - 1 to n (kept in PRAGMA user_version). Never edit one that was
-- released: add the next.

-- name: schema_1
PRAGMA application_id = 1129268301;  -- "CODM": tells our database from anybody else's

CREATE TABLE nodes (
    seq     INTEGER PRIMARY KEY,     -- the order they were added, by which operators number them
    id      TEXT NOT NULL UNIQUE,    -- host:port
    host    TEXT NOT NULL,
    port    INTEGER NOT NULL,
    token   TEXT NOT NULL,
    locked  INTEGER NOT NULL
);

CREATE TABLE tasks (
    seq        INTEGER PRIMARY KEY,  -- the order they were created
    id         TEXT NOT NULL UNIQUE, -- the uuid clients know, case-sensitive
    owner      TEXT NOT NULL,        -- fingerprint or name, never a token
    state      TEXT NOT NULL,        -- core.types.TaskState
    node       TEXT,                 -- host:port; the node need not be registered any more
    created    REAL NOT NULL,
    committed  REAL,
    ended      REAL,
    accessed   REAL NOT NULL,        -- written at most once a minute
    version    INTEGER NOT NULL,
    images     INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    rest       TEXT NOT NULL         -- JSON: request, options, touched, error, lines, reasons, report, token
);

CREATE TABLE strays (                -- copies that nodes should drop
    seq   INTEGER PRIMARY KEY,
    task  TEXT NOT NULL,
    node  TEXT NOT NULL,
    UNIQUE (task, node)
);

CREATE TABLE notes (                 -- facts about the installation, such as what was imported already
    seq    INTEGER PRIMARY KEY,
    key    TEXT NOT NULL UNIQUE,
    value  TEXT NOT NULL
);


-- Reading: once, at the start. `seq` comes first in each and is not part of the record.

-- name: read_nodes
SELECT seq, host, port, token, locked FROM nodes

-- name: read_tasks
SELECT seq, id, owner, state, node, created, committed, ended, accessed, version, images, bytes, attempts, rest FROM tasks

-- name: read_strays
SELECT seq, task, node FROM strays

-- name: read_notes
SELECT seq, key, value FROM notes


-- Writing. An upsert keeps `seq`, so a changed record keeps its place.

-- name: put_node
INSERT INTO nodes (id, host, port, token, locked) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET token = excluded.token, locked = excluded.locked

-- name: drop_node
DELETE FROM nodes WHERE id = ?

-- name: put_task
INSERT INTO tasks (id, owner, state, node, created, committed, ended, accessed, version, images, bytes, attempts, rest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    owner = excluded.owner, state = excluded.state, node = excluded.node, created = excluded.created,
    committed = excluded.committed, ended = excluded.ended, accessed = excluded.accessed, version = excluded.version,
    images = excluded.images, bytes = excluded.bytes, attempts = excluded.attempts, rest = excluded.rest

-- name: touch_task
UPDATE tasks SET accessed = ?1 WHERE id = ?2 AND accessed < ?1

-- name: drop_task
DELETE FROM tasks WHERE id = ?

-- name: add_stray
INSERT INTO strays (task, node) VALUES (?, ?) ON CONFLICT (task, node) DO NOTHING

-- name: drop_stray
DELETE FROM strays WHERE task = ? AND node = ?

-- name: put_note
INSERT INTO notes (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
