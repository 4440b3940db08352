# visionbus: `make` alone lists what there is to do.
PYTHON ?= python3
ARGS ?=
export PYTHONUNBUFFERED = 1
PY = .venv/bin/python
INSTALL = $(PYTHON) scripts/install.py

.PHONY: help demo test check lint bench constraints clean

help:
	@echo "make demo         the whole system classifies 10,000 images, and every answer is checked"
	@echo "make test         the whole test suite"
	@echo "make check        format, lint, types, import contracts, spelling, quick tests: under a minute"
	@echo "make bench        the benchmarks, one after another"
	@echo "make constraints  renew the pinned versions in constraints.txt"
	@echo "make clean        remove everything that these made"
	@echo "Options: PYTHON=/path/to/python3, ARGS='...' for demo and test"

demo:
	@$(INSTALL) demo
	@$(PY) -m visionbus demo $(ARGS)

test:
	@$(INSTALL) test
	@$(PY) -m pytest -ra -n 2 --dist loadgroup $(ARGS)

check: lint
	@$(PY) -m pytest -ra -q -m "not slow"

lint:
	@$(INSTALL) test
	@status=0; \
	for tool in "$(PY) -m ruff format --check" "$(PY) -m ruff check" "$(PY) -m mypy" .venv/bin/lint-imports .venv/bin/codespell; do \
		echo "== $$tool"; $$tool || status=1; \
	done; exit $$status

bench:
	@$(INSTALL) bench
	@failed=; for file in $$(grep -l __main__ benchmarks/*.py); do \
		echo; echo "== $$file"; $(PY) "$$file" || failed="$$failed $$file"; \
	done; if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

constraints:
	@$(INSTALL) test
	$(PY) scripts/uv.py pip compile --universal --python-version 3.11 --upgrade --all-extras --group dev --group bench \
		--no-header --no-annotate --quiet pyproject.toml --output-file constraints.txt

clean:
	rm -rf .venv .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
