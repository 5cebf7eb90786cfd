# `make train` and `make test` work on a fresh clone: each sets up what it needs first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# The shapes in the annotations of these folders are checked while the tests run.
SHAPES := --jaxtyping-packages=klamp.mathematics,klamp.trust_region,klamp.networks,klamp.algorithms,klamp.collection,klamp.training.prepare,klamp.training.learning,beartype.beartype

# Tests start many processes; each would compile the modules anew where they may not be kept.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: train test test-slow compiled check bench docs release setup setup-dev clean
train: setup ## install, then train CartPole-v1 with PPO and say what it learned
	$(BIN)/klamp train CartPole-v1 --out runs/CartPole-v1-$$(date +%Y%m%d-%H%M%S)

# Many tests train the same network: one compilation serves them all, on both cores, and the next
# time that the tests are run.
COMPILED := $(abspath $(VENV)/compiled)
PYTEST := JAX_COMPILATION_CACHE_DIR=$(COMPILED) JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	$(BIN)/python -m pytest -n 2 --dist worksteal $(SHAPES)

# Tests keep both cores busy: cutting each program in pieces that are compiled side by side costs
# them a quarter of the time of compiling.
WHOLE := --xla_cpu_parallel_codegen_split_count=1

# Most of the time of the short tests is compilation, which need not be thorough for them.
QUICK := $(WHOLE) --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false

test: setup-dev compiled ## the tests
	XLA_FLAGS="$(QUICK)" $(PYTEST) -m "not slow and not compiles and not launches"

test-slow: setup-dev compiled ## those that compile, train or launch for a while
	XLA_FLAGS="$(QUICK)" $(PYTEST) -m compiles
	XLA_FLAGS="$(WHOLE)" $(PYTEST) -m slow  # Compiled as users have it.
	XLA_FLAGS="$(QUICK)" $(PYTEST) -n 0 -m launches

# Programs older than two days are removed: each change of a program leaves the old one behind.
compiled:
	mkdir -p $(COMPILED) && find $(COMPILED) -type f -mtime +1 -delete

check: setup-dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup-dev ## speed beside other libraries (builds their environments)
	$(BIN)/python benchmarks/speed.py

docs: .venv-docs/.installed ## the pages of docs/ as a site, in site/
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict

# Upload what then lies in dist/: `.venv-release/bin/twine upload dist/*`.
release: ## all of a release but the upload: clean tree, changelog, checks, tests, build, a try elsewhere
	$(PYTHON) tools/release.py ready
	$(MAKE) check test test-slow
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet build twine
	rm -rf dist
	.venv-release/bin/python -m build --outdir dist .
	.venv-release/bin/twine check --strict dist/*
	$(PYTHON) tools/release.py contents dist
	$(PYTHON) tools/release.py try dist

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

# `pip install --group` needs pip 25.1; the dev tools are therefore read from the lock.
$(VENV)/.installed: pyproject.toml requirements/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements/constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt
	$(BIN)/python -m pip install --quiet --constraint requirements/constraints.txt --editable '.[mujoco]' --requirement requirements/dev.txt
	touch $@

# It reads the package without importing it, and needs nothing of what klamp needs.
.venv-docs/.installed: requirements/docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --requirement requirements/docs.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-docs site .venv-release .bench build dist .pytest_cache .ruff_cache
