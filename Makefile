# Each target installs its requirements into the environment VENV=<folder>, made by PYTHON=<python>.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint types unit docs package slow notebooks study bench soak soak-kills soak-input soak-annotation clean

demo: $(VENV)/.installed
	$(BIN)/python -m melt_ser.train --multirun backbone.init=pretrained,random trainer.epochs=3

test: lint types unit docs

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

PYTEST = OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n auto  # one process per core, one thread per process

unit: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

docs: $(VENV)/.installed-dev  # the documents as a site, in build/site; `$(BIN)/mkdocs serve` shows it while they change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

package: $(VENV)/.installed-dev  # the wheel and the source distribution, in dist
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

slow: $(VENV)/.installed-dev
	$(PYTEST) -m slow

# Run each notebook on the runs in RUNS, and write it with its outputs to build/notebooks. A notebook names missing runs.
RUNS ?= runs

notebooks: $(VENV)/.installed-dev
	mkdir -p build/notebooks
	MELT_SER_RUNS=$(abspath $(RUNS)) $(BIN)/jupyter execute --allow-errors notebooks/*.ipynb \
		--output='../build/notebooks/{notebook_name}'

# Run experiment=small_study, interrupt and complete it, and compare the formats of its report. DATA holds emodb and urdu.
DATA ?= data

study: $(VENV)/.installed-dev
	HF_HUB_OFFLINE=1 $(BIN)/python tests/helpers/study.py build/study $(DATA)

# Run the main speed benchmarks briefly: about a quarter of an hour on two idle cores. benchmarks/README.md has the full ones.
BENCH = HF_HUB_OFFLINE=1 $(BIN)/python benchmarks
ROUNDS ?= 1

bench: $(VENV)/.installed
	$(BENCH)/decode.py
	$(BENCH)/startup.py --rounds $(ROUNDS)
	$(BENCH)/frozen.py --rounds $(ROUNDS) --families wav2vec2
	$(BENCH)/frozen_folds.py --rounds $(ROUNDS) --clips 240
	$(BENCH)/inference.py --rounds $(ROUNDS) --clips 32
	$(BENCH)/finetune.py --rounds $(ROUNDS) --batch-sizes 8 --no-memory
	$(BENCH)/finetune.py --rounds $(ROUNDS) --batch-sizes 8 --no-memory --size base --families wav2vec2 --sample 24
	$(BENCH)/flops.py --rounds $(ROUNDS) --size base --families wav2vec2 --batches 3

soak: soak-kills soak-input soak-annotation  # the long version of the tests in docs/trust.md

soak-kills: $(VENV)/.installed-dev
	folder=$$(mktemp -d) && $(BIN)/python tests/helpers/crash_tests.py soak $$folder 50; code=$$?; rm -rf $$folder; exit $$code

soak-input: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python scripts/soak_bad_input.py --count 20000 --seed 0

soak-annotation: $(VENV)/.installed-dev
	$(BIN)/python scripts/soak_annotation.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
