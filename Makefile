# make demo   environment, then the main job end to end on rendered images: minutes on two cores
# make test   environment, then the tests but the slow ones: under six minutes on two cores
# make test-all  the slow ones too: several processes, other runtimes, a browser
# make check  lint and types
# make docs   the documentation site, into build/site
# make serve  a local page to try a model; MODEL=runs/mine for another than the preset
# make snippets  the commands of README and docs, as a reader would run them
# make clean  removes the environment; runs/ and exported/ stay

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo test test-all check docs serve snippets clean

demo: .venv/train
	$(BIN)/python scripts/demo.py

PYTEST = $(BIN)/python -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/test
	$(PYTEST) -m 'not slow'

test-all: .venv/test
	$(PYTEST)

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --quiet --site-dir build/site

serve: .venv/serve
	$(BIN)/python -m zip_keras serve $(MODEL)

snippets: .venv/docs
	$(BIN)/python docs/run_snippets.py

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found (TensorFlow 2.20 has wheels for these);" \
	  "install one or run make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/train: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --no-compile -e '.[train]'
	@touch $@

.venv/test: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --no-compile -e '.[test]'
	@touch $@ .venv/train

.venv/serve: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --no-compile -e '.[serve]'
	@touch $@

.venv/docs: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --no-compile -e '.[train,docs]'
	@touch $@

clean:
	rm -rf .venv
