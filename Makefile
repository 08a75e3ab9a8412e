# Two commands are enough to begin: `make demo` and `make test`. Each installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install demo test test-slow lint bench docs clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(INSTALLED): pyproject.toml setup.py constraints.txt $(wildcard src/googol/distributions/_kernels*.[ch])
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "googol needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(INSTALLED)  ## a virtual environment .venv with everything

demo: install  ## train on embedded digits and write demo/report.html (about three minutes)
	$(BIN)/googol demo --out demo

lint: install  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint  ## style, types and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test-slow: install  ## the long checks
	$(BIN)/python -m pytest -m slow

bench: install  ## speed and memory of the tensor ring beside the plain algorithm, and in training; writes results/bench
	$(BIN)/python -m benchmarks.tensor_ring
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.compilers
	$(BIN)/python -m benchmarks.prior_cost
	$(BIN)/python -m benchmarks.training_step
	$(BIN)/python -m benchmarks.sparse_normal
	$(BIN)/python -m benchmarks.posteriors
	$(BIN)/python -m benchmarks.pixelcnn
	$(BIN)/python -m benchmarks.hierarchical
	$(BIN)/python -m benchmarks.explorer
	$(BIN)/python -m benchmarks.holes
	$(BIN)/python -m benchmarks.adversarial
	$(BIN)/python -m benchmarks.page

docs: install  ## the guide, in docs/_build/html
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

clean:  ## remove what the other targets made
	rm -rf .venv demo docs/_build .pytest_cache .mypy_cache .ruff_cache
