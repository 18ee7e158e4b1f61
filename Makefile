# Two commands do everything on a fresh machine: `make search` and `make test`.
PYTHON ?= python3
VENV ?= .venv
NAS = $(VENV)/bin/nas

.PHONY: search test check docs clean

search: $(VENV)/.installed ## install, then search MixConv networks on digits
	$(NAS) search --space mixconv --target-flops 2M --max-flops 2M --trials 24 --time 5m

test: $(VENV)/.installed-dev ## install, then run the tests in a process a core
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 2 --durations 25

check: $(VENV)/.installed-dev ## lint, types and the import contract
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(VENV)/.installed-dev ## the documentation as a site, build/site/index.html; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet --strict

# torch first and alone: a pin that another package's wish can't widen to a build with CUDA.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,postgresql,ray]'
	touch $@

clean: ## remove what was installed
	rm -rf $(VENV)
