# Two commands for a bare machine (python3 >= 3.11 and make): `make demo` and `make test`. The rest: `make help`.

PYTHON ?= python3
BIN := .venv/bin
# -qq: pip says nothing but errors. The constraints hold every package, so that no other torch comes in.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-core fuzz fire check format style types layers docs bench peers readme wheel clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.demo ## find the rates, train with each policy, show which one helped (cyclr-demo/)
	@$(BIN)/cyclr demo

test: .venv/.dev ## run the tests and every example of README, docs and docstrings
	@$(BIN)/python -m pytest --numprocesses 2 $(ARGS)

CORE := _schedules _range _plan.py _policies.py torch
test-core: .venv/.core ## run the tests of schedules, bounds, plans and torch: a minute on two free cores, without the slow ones; installs no other framework
	@$(BIN)/python -m pytest --numprocesses 2 -m "not slow" tests/schedules tests/range tests/torch tests/test_plan.py tests/test_policies.py $(CORE:%=src/cyclr/%) $(ARGS)

fuzz: .venv/.dev ## run the property tests on many random examples; SEED=N runs those of an earlier seed again
	@seed=$${SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; echo "== make fuzz SEED=$$seed"; \
	$(BIN)/python -m pytest --numprocesses 2 -m hypothesis --hypothesis-profile fuzz --hypothesis-seed $$seed $(ARGS)

FIRE := torch lightning transformers jax keras:torch keras:jax
fire: .venv/.dev ## send 1,000 signals at random moments of range tests, and write bench/records/fire.csv: everything must be restored
	@seed=$${SEED:-$$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}; echo "== make fire SEED=$$seed"; \
	for one in $(FIRE); do KERAS_BACKEND=$${one#*:} $(BIN)/python -m tests.adapters.fire $${one%:*} 168 $$seed bench/records/fire.csv || exit 1; done

check: style types layers docs ## format, lint, types, layers, docs

style: .venv/.dev ## format and lint, without changing anything
	@echo "== format and lint"
	@$(BIN)/ruff format --check . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

types: .venv/.dev ## types, strict
	@echo "== types"
	@$(BIN)/pyrefly check --no-progress-bar

layers: .venv/.dev ## imports go down only
	@echo "== layers"
	@$(BIN)/lint-imports --no-cache --no-logo > .venv/layers.txt || { cat .venv/layers.txt; exit 1; }

docs: .venv/.dev ## build docs/_build/index.html, warnings are errors; tables must be those of the records
	@echo "== docs"
	@$(BIN)/python experiments/paper/table.py --check
	@$(BIN)/python experiments/cycles/table.py --check
	@$(BIN)/python bench/power.py check
	@$(BIN)/python bench/seeds.py check
	@$(BIN)/python bench/speed.py check
	@$(BIN)/python bench/scale.py check
	@$(BIN)/python bench/input.py check
	@$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build

format: .venv/.dev ## put the code into format, mend what can be mended
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

bench: .venv/.dev .peers/.made ## measure our speed beside every peer, and write docs/speed.md: ten minutes, goes on where it stopped
	@$(BIN)/python bench/schedules.py
	@$(BIN)/python bench/speed.py run
	@.peers/bin/python bench/speed.py run
	@$(BIN)/python bench/speed.py table

history: .venv/.dev ## add the present commit's ratios to a history on this machine (asv, in .asv/; `asv publish` makes pages)
	@$(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt asv
	@cd bench && ../$(BIN)/python -m asv machine --yes > /dev/null
	@cd bench && ../$(BIN)/python -m asv run -E existing:$(CURDIR)/$(BIN)/python --set-commit-hash $$(git rev-parse HEAD)

.peers/.made: bench/peers/requirements.txt
	@[ -x .peers/bin/python ] || $(PYTHON) -m venv .peers
	@.peers/bin/python -m pip --disable-pip-version-check install -qq -r bench/peers/requirements.txt
	@.peers/bin/python -m pip --disable-pip-version-check install -qq --no-deps fastai==2.8.12 timm==1.0.31 -e .
	@touch $@

peers: .peers/.made ## run the tools that the published rules come from, in .peers/, and compare (downloads them)
	@MPLBACKEND=Agg .peers/bin/python bench/peers/check.py

readme: .venv/.dev ## make the demo's results and images in README.md anew
	@rm -rf cyclr-demo && $(BIN)/cyclr demo > /dev/null && cp cyclr-demo/study.json docs/demo.json
	@mkdir -p docs/images && cp cyclr-demo/range_test.png cyclr-demo/accuracy.png docs/images/
	@$(BIN)/python scripts/readme.py

wheel: .venv/.dev ## build dist/cyclr-*.whl
	@$(BIN)/python -m pip --disable-pip-version-check wheel -qq --no-deps --wheel-dir dist .

clean: ## remove the environment and everything built
	rm -rf .venv .peers dist docs/_build .pytest_cache .ruff_cache

# The environment: made once, brought up to date when what it is made from changes. Each stamp is touched last.

.venv/.made:
	@command -v $(PYTHON) > /dev/null || { echo "make: cyclr needs Python 3.11 or newer, found no $(PYTHON); make PYTHON=/path/to/python3 names another" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: cyclr needs Python 3.11 or newer, $(PYTHON) is %d.%d; make PYTHON=/path/to/python3 names another" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "make: $(PYTHON) has no venv; install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "== making .venv"
	@$(PYTHON) -m venv .venv
	@$(PIP) --upgrade pip
	@touch $@

.venv/.demo .venv/.core: .venv/.%: .venv/.made pyproject.toml constraints.txt
	@[ -e .venv/.dev ] && exec $(MAKE) --no-print-directory .venv/.dev || { echo "== installing pyproject's group $* (torch is large: minutes, once)"; $(PIP) --group $* -e .; }
	@touch $@

.venv/.dev: .venv/.made pyproject.toml constraints.txt
	@echo "== installing what the tests need, every framework (minutes, once)"
	@$(PIP) --group dev -e .
	@touch .venv/.demo .venv/.core $@
