# Two commands on a fresh machine: `make demo` and `make test`. Each sets up all that it needs.
PYTHON ?= python3
BIN := .venv/bin
RUNS ?= 100
KEPT_RUNS ?= 4
SCENARIO ?= all
EVENTS ?= 2000000
N ?= 100000
SEED ?= 1
MEGABYTES ?= 5000
SIZE ?= night
FAULT_RUNS_pr := 3
FAULT_RUNS_night := 40
FAULT_RUNS_release := 200
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# A worker waits for a server now and then; two for each core only make all of them slow.
WORKERS ?= $(shell expr $(JOBS) + 1)
# Every process would else compile every module that it imports anew, where the environment forbids the caches.
export PYTHONDONTWRITEBYTECODE :=
KERNELS := $(shell grep -rl '^@compiled' --include='*.py' src/headwater)

.PHONY: setup wheel quickstart site demo test check bench bench-flink bench-spark bench-capture docs screenshots ci crash lake-property fuzz fuzz-binlog fuzz-pgoutput fuzz-formats faults large readers lock clean

setup: .venv/.stamp .venv/.kernels  ## create .venv with the locked dependencies, build the console's page, compile the kernels
	@$(BIN)/python console/npm.py build

.venv/.stamp: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headwater needs Python 3.11 or newer; try: make PYTHON=python3.12 $@")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python console/npm.py build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/.kernels: .venv/.stamp $(KERNELS)
	$(BIN)/python -m headwater.cli.compile_kernels
	touch $@

wheel: setup  ## the package as it is published, in dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

quickstart: wheel  ## docs/quickstart.md from `pip install` of the wheel in a clean environment, timed
	$(BIN)/python tests/docs/quickstart.py

site: setup  ## docs/ as a site, in build/site
	$(BIN)/python site/build.py

demo: setup  ## a shop's PostgreSQL becomes live models and Iceberg tables, is killed, goes on, and is verified
	$(BIN)/headwater demo

test: setup  ## the whole test suite, with real servers it starts and stops itself
	$(BIN)/python -m headwater.testing.debian
	$(BIN)/python -m headwater.testing.lake_servers
	$(BIN)/python -m headwater.testing.kafka
	$(BIN)/python -m headwater.testing.opensearch
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup

check: setup  ## style, types and import layers, of the console too
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python console/npm.py check

bench: setup  ## figures, printed and kept in bench/results
	mkdir -p bench/results
	$(BIN)/headwater bench log --json | tee bench/results/log.json
	$(BIN)/headwater bench spine --json | tee bench/results/spine.json
	$(BIN)/headwater bench nexmark --events 2000000 --verify --json | tee bench/results/nexmark.json
	$(BIN)/headwater bench nexmark --events 2000000 --threads 2 --json | tee bench/results/nexmark-2-threads.json
	$(BIN)/headwater bench latency --json | tee bench/results/latency.json
	$(BIN)/headwater bench console --json | tee bench/results/console.json
	$(BIN)/headwater bench swap --json | tee bench/results/swap.json

bench-flink: setup  ## the Nexmark queries beside Apache Flink on the same 2 cores; needs a JDK 17 or 21
	$(BIN)/python bench/compare.py --engines flink --events $(EVENTS)

bench-spark: setup  ## the same beside Apache Spark
	$(BIN)/python bench/compare.py --engines spark --events $(EVENTS)

bench-capture: setup  ## a backlog drained beside pg_recvlogical and Debezium, a table read beside ConnectorX and dlt; needs a JDK and Maven
	$(BIN)/python bench/capture.py
	$(BIN)/python bench/snapshot.py --keep

docs: setup  ## regenerate docs/reference and the types of the console from the code
	$(BIN)/python -m headwater.cli.reference docs/reference
	$(BIN)/python console/openapi.py | $(BIN)/python console/npm.py types

screenshots: setup  ## renew docs/console/*.png from a real run of the demo's shop
	PYTHONPATH=. $(BIN)/python -m tests.console.screenshots docs/console

crash: setup  ## kill -9 at RUNS random instants and twice at every failpoint; make crash RUNS=100 SCENARIO=snapshot, mysql, lake, rabbitmq, http, kafka, files or deliver
	$(BIN)/python -m tests.crash --runs $(RUNS) --scenario $(SCENARIO)

lake-property: setup  ## random interleavings of all that is done to a lake table, at SIZE pr, night or release
	HEADWATER_SIZE=$(SIZE) $(BIN)/pytest -n $(JOBS) tests/lake/test_table_property.py

large: setup  ## one transaction of MEGABYTES through log and lake under a limit of 1 GB of memory; make large MEGABYTES=5000
	$(BIN)/python -m tests.large --megabytes $(MEGABYTES)

ci: check test

fuzz: setup  ## N random SELECTs against DuckDB, from seed SEED; make fuzz N=100000
	$(BIN)/python -m tests.fuzz --queries $(N) --seed $(SEED) --jobs $(JOBS)

fuzz-binlog: setup  ## N mutated binlogs of MySQL and MariaDB, from seed SEED, every index of the kernels checked
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.venv/boundscheck $(BIN)/python -m tests.fuzz.binlog --inputs $(N) --seed $(SEED) --jobs $(JOBS)

fuzz-pgoutput: setup  ## N mutated inputs of all that PostgreSQL sends, from seed SEED, every index of the kernels checked
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.venv/boundscheck PYTHONPATH=src $(BIN)/python -m tests.capture.pgoutput_fuzz --inputs $(N) --seed $(SEED)

fuzz-formats: setup  ## N mutated messages for the decoder of each format, from seed SEED, every index of the kernels checked
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.venv/boundscheck PYTHONPATH=src $(BIN)/python -m tests.fuzz.formats --inputs $(N) --seed $(SEED)
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.venv/boundscheck PYTHONPATH=src $(BIN)/python -m tests.fuzz.containers --inputs $(N) --seed $(SEED)

faults: setup  ## the fault catalogue of capture and lake at SIZE pr, night or release; make faults SIZE=night
	HEADWATER_SIZE=$(SIZE) HEADWATER_FAULT_RUNS=$(FAULT_RUNS_$(SIZE)) $(BIN)/pytest -n $(JOBS) --dist loadgroup tests/capture tests/faults tests/lake/test_commit_faults.py

readers: setup  ## Iceberg tables of every shape and of a crash campaign read by PyIceberg, Polars, DuckDB, Spark, Flink; needs a JDK and Maven
	rm -rf .bench/crash-lake
	$(BIN)/python -m tests.crash --scenario lake --runs $(KEPT_RUNS) --failpoints 4 --keep .bench/crash-lake
	$(BIN)/python -m tests.readers --campaign .bench/crash-lake

lock:  ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --group dev --extra demo --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

clean:
	rm -rf .venv build dist console/node_modules src/headwater/console/static .mypy_cache .ruff_cache .pytest_cache .hypothesis
