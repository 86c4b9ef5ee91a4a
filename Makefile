# make demo   watch a machine fall sick, be set aside, be replaced and be re-checked
# make demo-ec2  the same on AWS, without AWS: an emulator of it, and the real daemon
# make test   every test, real processes included
# make kills  SIGKILL at each of the daemon's calls to AWS, at every moment; about ten minutes
# make check  format, lint, types, import contracts
# The first of them sets up .venv from the lock; later ones take no time for it.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/.ready
# Tests at a time: most of them wait for real processes, so more than there are cores
WORKERS ?= 3
# Debian packages that setting up needs, and those that only the tests need besides
DEBIAN := python3-venv
DEBIAN_TEST := chromium dnsmasq-base libatomic1 monitoring-plugins-basic mosquitto nginx openssh-server prometheus \
	prometheus-alertmanager

.PHONY: help demo demo-ec2 test kills test-unit test-packages check format reference lock bench bench-judgement bench-prober wheel setup clean

help:
	@sed -n 's/^# //p' Makefile | head -n 6

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml tools/debian-packages
	@bash tools/debian-packages "$(PYTHON)" $(DEBIAN)
	@echo "setting up .venv (once; about a minute)"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/sickbay demo --once --stay

demo-ec2: $(STAMP)
	@$(BIN)/python -m tests.standins.aws.demo

test-packages: $(STAMP)
	@bash tools/debian-packages "$(PYTHON)" $(DEBIAN_TEST)

test: test-packages
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

kills: $(STAMP)
	$(BIN)/python -m tests.ec2.kills

test-unit: test-packages
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not acceptance"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy supervisor checks remediations tests bench
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: $(STAMP)
	$(BIN)/python -m tools.reference

lock:
	python3 -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o requirements.lock
	rm -rf .venv-lock

bench: $(STAMP)
	$(BIN)/python -m bench.engine
	$(BIN)/python -m bench.scrape
	$(BIN)/python -m bench.prober $(PROBER)

# JUDGEMENT=--quick for a minute's worth; the whole takes hours
bench-judgement: $(STAMP)
	$(BIN)/python -m bench.judgement $(JUDGEMENT)

# PROBER=--install to have nginx and the peers installed; wants root
bench-prober: $(STAMP)
	$(BIN)/python -m bench.prober $(PROBER)

wheel: $(STAMP)
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf .venv .venv-lock dist .mypy_cache .ruff_cache .pytest_cache
