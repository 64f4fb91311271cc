# Few words. Every one does its own set-up, once.
.PHONY: setup demo test check bench trials lock clean

PYTHON = .venv/bin/python
PYTEST = $(PYTHON) -m pytest

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml deploy/setup.sh
	@deploy/setup.sh

demo: setup
	@.venv/bin/rdev demo

test: check
	@$(PYTEST)

check: setup
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports

# Prints a table, and the same figures as JSON.
bench: setup
	@$(PYTHON) tests/bench/run.py

# The tests that try the same thing many times: minutes, not seconds.
trials: setup
	@$(PYTEST) -m trial

# Takes newer versions only where pyproject.toml asks for them.
lock: setup
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header pyproject.toml --group dev -o requirements.lock

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
