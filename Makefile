# make demo | test | test-fast | soak | lint | bench: each makes .venv first, and does nothing twice.
# Windows without make: the two lines in README.md.

PYTHON ?= python3
VENV_PYTHON = .venv/bin/python

.PHONY: demo test test-fast soak lint bench env env-tests clean

env:
	@$(PYTHON) scripts/setup_env.py

env-tests:
	@$(PYTHON) scripts/setup_env.py --tests

demo: env
	@$(VENV_PYTHON) examples/demo.py

test: env-tests
	$(VENV_PYTHON) -m pytest -m "not soak" --durations=20

test-fast: env-tests
	$(VENV_PYTHON) -m pytest -q -m "not slow and not rig and not soak"

soak: env-tests
	$(VENV_PYTHON) -m pytest -m soak --timeout 7200

lint: env
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m mypy

bench: env
	@$(VENV_PYTHON) -m soundforge.cli bench

clean:
	rm -rf demo build dist .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
