# make book   set everything up, run the study on the embedded ECGs, build the book
# make report set everything up, build the book from what is published, without training
# make test   set everything up, check the code, run the tests
# make paper  set everything up, typeset the paper from a study's results (needs TeX Live)
PYTHON ?= python3
STUDY ?= workflow/studies/sample.yml
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONNOUSERSITE := 1

.PHONY: book report test test-all lint format lab lock publish paper clean

book: $(READY)
	@leadmin run --all --study $(STUDY)

report: $(READY)
	@leadmin report

test: lint
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-all: lint
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "slow or not slow"

lint: $(READY)
	@ruff check .
	@ruff format --check .
	@mypy
	@$(BIN)/python workflow/pair_notebooks.py --check
	@! command -v actionlint > /dev/null || actionlint

format: $(READY)
	@ruff check --fix .
	@ruff format .
	@$(BIN)/python workflow/pair_notebooks.py

lab: $(READY)
	@jupyter lab

publish: $(READY)
	@leadmin publish --study $(STUDY)

# STUDY_RESULTS names the folder of another study's results, such as outputs/full.
paper: $(READY)
	@leadmin paper $(if $(STUDY_RESULTS),--results "$(STUDY_RESULTS)")

# Installs exactly what requirements.lock names. The stamp is written last, so that a broken
# installation is repeated.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	sys.exit(0 if v >= (3, 11) else "leadmin needs Python 3.11 or newer, this is %d.%d; try: make PYTHON=python3.12" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Renews the pins from what pyproject.toml asks for, in an environment of its own. Versions from 3 of
# soupsieve want Python 3.11.5, which Debian 12 lacks, or break the theme.
lock:
	@rm -rf $(VENV)-lock
	@$(PYTHON) -m venv $(VENV)-lock
	@$(VENV)-lock/bin/python -m pip install --quiet "torch==2.13.0" "flit_core>=3.11" ".[dev,slurm,files,onnx]" "soupsieve<3"
	@$(VENV)-lock/bin/python workflow/write_lock.py
	@rm -rf $(VENV)-lock

clean:
	rm -rf outputs paper/build .mypy_cache .ruff_cache .pytest_cache .snakemake
