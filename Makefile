# visionbus: `make` alone lists what there is to do.
PYTHON ?= python3
ARGS ?=
ROW ?=
OUT ?= model.onnx
MODEL ?= model.onnx
export PYTHONUNBUFFERED = 1
PY = .venv/bin/python
INSTALL = $(PYTHON) scripts/install.py

.PHONY: help demo train serve test check lint bench bench-training constraints clean

help:
	@echo "make demo         the whole system classifies 10,000 images, and every answer is checked"
	@echo "make train        a model of your own: make train DATA=~/photos [OUT=model.onnx]"
	@echo "make serve        the system with it: make serve MODEL=model.onnx IMAGES=~/more-photos"
	@echo "make test         the whole test suite"
	@echo "make check        format, lint, types, import contracts, spelling, quick tests: two minutes"
	@echo "make bench        the benchmarks, one after another"
	@echo "make bench-training ROW=a  training against our peers' examples: docs/benchmarks-training.md"
	@echo "make constraints  renew the pinned versions in constraints.txt"
	@echo "make clean        remove what these made, but for models"
	@echo "Options: PYTHON=/path/to/python3, ARGS='...' for demo, train, serve, test and bench-training"

demo:
	@$(INSTALL) demo
	@$(PY) -m visionbus demo $(ARGS)

train:
	@test -n "$(DATA)" || { echo "name your images: make train DATA=~/photos (a folder with a folder per class, a table, arrays: docs/data.md)"; exit 2; }
	@$(INSTALL) train
	@$(PY) -m visionbus train "$(DATA:~/%=$(HOME)/%)" -o "$(OUT:~/%=$(HOME)/%)" $(ARGS)
	@echo "next: make serve MODEL=$(OUT) IMAGES=/folder/of/more/images"

serve:
	@test -n "$(IMAGES)" || { echo "name the images: make serve MODEL=model.onnx IMAGES=~/more-photos"; exit 2; }
	@$(INSTALL) demo
	@$(PY) -m visionbus demo --model "$(MODEL:~/%=$(HOME)/%)" "$(IMAGES:~/%=$(HOME)/%)" $(ARGS)

test:
	@$(INSTALL) test
	@$(PY) -m pytest -raR -n 3 --rerun-show-tracebacks $(ARGS)  # they wait for brokers more than they compute

check: lint
	@$(PY) -m pytest -ra -q -n 2 -m "not slow"

lint:
	@$(INSTALL) test
	@status=0; \
	for tool in "$(PY) -m ruff format --check" "$(PY) -m ruff check" "$(PY) -m mypy" .venv/bin/lint-imports .venv/bin/codespell; do \
		echo "== $$tool"; $$tool || status=1; \
	done; exit $$status

bench:  # without those that want arguments, and what training needs
	@$(INSTALL) bench
	@failed=; for file in $$(grep -l __main__ benchmarks/*.py | grep -v -e calibration -e photos -e recipe); do \
		echo; echo "== $$file"; $(PY) "$$file" || failed="$$failed $$file"; \
	done; if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

bench-training:
	@test -n "$(ROW)" || { echo "name a row: make bench-training ROW=a (docs/benchmarks-training.md)"; exit 2; }
	@$(INSTALL) train
	@PYTHONPATH=$(CURDIR)/benchmarks $(PY) -m training $(ROW) $(ARGS)

constraints:
	@$(INSTALL) test
	$(PY) scripts/uv.py pip compile --universal --python-version 3.11 --upgrade --all-extras --group dev --group bench \
		--no-header --no-annotate --quiet pyproject.toml --output-file constraints.txt

clean:
	rm -rf .venv .venv-peers .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
