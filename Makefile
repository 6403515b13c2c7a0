# make demo · serve · test · fuzz · check · docs · plugin · bench: each sets up .venv by itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= demo-out

PLUGIN := examples/rag-audio-example-plugin

.PHONY: demo serve test fuzz check docs plugin bench format clean

demo: $(VENV)/.core
	$(BIN)/rag-audio demo --out $(OUT)

# The page on what make demo left.
serve: $(VENV)/.serve
	$(BIN)/rag-audio serve --home $(OUT)/home

# Two workers of one thread each: threads that wait for each other cost more than they give. Under
# loadgroup xdist 3.8 waits for ever once it has replaced a crashed worker (its issue 1323).
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --max-worker-restart=0 $(ARGS)

# New damaged inputs for so many seconds a test; make test tries a fixed set of them.
fuzz: export FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --timeout 0 tests/fuzz $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/test_architecture.py

# The documentation site, into site/. Unknown links and names are errors; nothing is fetched.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The example plugin as a user installs it: its tests, and two commands that use its embedder.
plugin: export RAG_AUDIO_EMBEDDER := band-levels
plugin: export RAG_AUDIO_HOME := $(VENV)/plugin-home
plugin: $(VENV)/.dev
	rm -rf $(VENV)/plugin-home
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e $(PLUGIN)
	$(BIN)/python -m pytest -q $(PLUGIN)/tests
	$(BIN)/rag-audio index $(PLUGIN)/library
	$(BIN)/rag-audio search "warm piano" --limit 1
	$(BIN)/python -m pip uninstall -q --yes rag-audio-example-plugin

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench_index.py
	$(BIN)/python benchmarks/bench_store.py
	$(BIN)/python benchmarks/bench_watermark.py --quick
	$(BIN)/python benchmarks/bench_generate.py
	$(BIN)/python benchmarks/bench_ledger.py
	$(BIN)/python benchmarks/bench_fingerprint.py
	$(BIN)/python benchmarks/bench_influence.py --quick

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
	  echo "rag-audio needs Python 3.11 or 3.12: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.serve: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[serve]'
	touch $@ $(VENV)/.core

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev,laion,postgres,s3,serve]'
	touch $@ $(VENV)/.core $(VENV)/.serve

clean:
	rm -rf $(VENV) demo-out site dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache
