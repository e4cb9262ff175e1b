"""SQL that reads files, writes, changes settings or looks around: refused with a sentence, and nothing is written."""

import pytest
from attacked import CANARY, refused

pytestmark = pytest.mark.xdist_group("attacks")

READS = """
SELECT * FROM read_csv('{secret}')
SELECT * FROM '{secret}'
FROM "{secret}"
SELECT * FROM read_text('{secret}')
SELECT * FROM read_blob('{secret}')
SELECT * FROM glob('{folder}/*')
SELECT * FROM sniff_csv('{secret}')
SELECT * FROM read_json('{secret}')
SELECT * FROM parquet_metadata('{secret}')
SELECT getenv('HEADWATER_CANARY')
SELECT * FROM query('SELECT * FROM read_csv(''{secret}'')')
SELECT * FROM query_table('{secret}')
SELECT * FROM query_table(['orders', '{secret}'])
SELECT * FROM main.read_csv('{secret}')
SELECT * FROM system.main.read_csv('{secret}')
SELECT (SELECT content FROM read_text('{secret}'))
WITH x AS (FROM read_csv('{secret}')) SELECT * FROM x
SELECT * FROM orders WHERE id IN (SELECT 1 FROM read_csv('{secret}'))
SELECT * FROM tumble('{secret}', ts, INTERVAL '1 second')
SELECT * FROM tumble(read_csv, ts, INTERVAL '1 second')
SELECT * FROM (SUMMARIZE SELECT * FROM read_csv('{secret}'))
SELECT /* ; */ * FROM read_csv /* */ ('{secret}')
SELECT * FROM rEaD_cSv('{secret}')
SELECT * FROM "read_csv"('{secret}')
SELECT * FROM '/proc/self/environ'
SELECT * FROM read_text('/proc/self/environ')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_csv(''{secret}'')'))
SELECT * FROM arrow_scan(1::POINTER, 1::POINTER, 1::POINTER)
SELECT * FROM pandas_scan(1)
SELECT current_setting('secret_directory')
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_logs
SELECT * FROM sqlite_scan('{secret}', 'x')
SELECT * FROM iceberg_scan('{folder}')
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_settings
SELECT * FROM shell('id')
""".strip().splitlines()
WRITES = """
COPY orders TO '{out}'
COPY (SELECT 1) TO '{out}' (FORMAT parquet)
ATTACH '{out}' AS x
EXPORT DATABASE '{out}'
IMPORT DATABASE '{folder}'
INSTALL httpfs
LOAD httpfs
FORCE INSTALL x FROM 'https://example.com'
CREATE TABLE x AS SELECT 1
CREATE MACRO read_me() AS 1
CREATE OR REPLACE MACRO sum(x) AS 1
CREATE SECRET s (TYPE s3, KEY_ID 'a')
CREATE VIEW orders AS SELECT 1
PRAGMA database_list
PRAGMA profiling_output='{out}'
SET memory_limit='100GB'
SET threads=64
RESET ALL
SET enable_external_access=true
SET lock_configuration=false
SET temp_directory='{folder}'
CALL enable_logging()
CALL pragma_version()
DETACH memory
USE memory
VACUUM
CHECKPOINT
BEGIN
INSERT INTO orders VALUES (1, 1)
UPDATE orders SET id = 1
DELETE FROM orders
DROP TABLE orders
TRUNCATE orders
ALTER TABLE orders ADD COLUMN x INT
PREPARE x AS SELECT 1
EXECUTE x
EXPLAIN ANALYZE COPY orders TO '{out}'
SELECT 1; COPY orders TO '{out}'
SELECT 1;;; DROP TABLE orders
; COPY orders TO '{out}'
WITH x AS (INSERT INTO orders VALUES (1, 1) RETURNING *) SELECT * FROM x
WITH x AS (DELETE FROM orders RETURNING *) FROM x
SELECT * INTO x FROM orders
MERGE INTO orders USING orders o ON true WHEN MATCHED THEN DELETE
SELECT write_log('{out}')
SELECT 1 /*
SELECT 'x
--
/* */
;
""".strip().splitlines()


@pytest.fixture(scope="module")
def filled(project):
    """Fills in what is to be read and written; and where it would be written."""
    out = project.folder / "written"
    names = {"secret": project.secret, "folder": project.folder, "out": out}
    return lambda sql: sql.format(**names), out


def test_nothing_else_is_read(attacked, filled):
    text, _ = filled
    for sql in READS:
        refused(attacked.sql(text(sql)), 400, 422)


def test_nothing_is_written(attacked, filled):
    text, out = filled
    for sql in WRITES:
        refused(attacked.sql(text(sql)), 400, 422)
    assert not out.exists()
    assert attacked.sql("SELECT sum(amount) = count(*) FROM orders").json()["rows"] == [[True]]


def test_no_plan_reads_or_writes(attacked, filled):
    text, out = filled
    for sql in (READS + WRITES)[::6]:
        refused(attacked.sql(text(sql), "/v1/sql/explain"), 400, 422)
    assert not out.exists()


def test_no_model_reads_or_writes(attacked, filled):
    text, out = filled
    for sql in (READS + WRITES)[::4]:
        answer = attacked.sql(text(sql), "/v1/models/preview")
        assert CANARY not in answer.text
        assert answer.json()["problems"], sql
        assert answer.json()["rows"] == [], sql
    for sql in (READS + WRITES)[::12]:
        refused(attacked.http.put("/v1/models/evil", json={"sql": text(sql)}), 400, 422)
    assert not out.exists()
    assert not (attacked.folder / "models" / "evil.sql").exists()


@pytest.mark.parametrize(
    "condition",
    [
        "true) UNION ALL FROM read_csv('{secret}') --",
        "id IN (FROM read_csv('{secret}'))",
        "1; COPY orders TO '{out}'",
        "getenv('HEADWATER_CANARY') = ''",
        "(SELECT count(*) FROM glob('/*')) > 0",
    ],
)
def test_a_condition_is_no_way_in(attacked, filled, condition):
    text, out = filled
    query = {"filter": text(condition), "from": "earliest", "limit": 5}
    refused(attacked.http.get("/v1/streams/orders/records", params=query), 400, 422)
    assert not out.exists()
