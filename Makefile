# Everything a newcomer needs is `make demo` and `make test`; each sets up its own virtual environment.
PYTHON ?= python3
# Twice quiet: warnings about the package index of this or that machine are nobody's business here; errors still show.
PIP_INSTALL = -m pip install --quiet --quiet --disable-pip-version-check
export PIP_CONSTRAINT = $(CURDIR)/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-lowest lint types pytest bench bench-quick soak soak-ci proto proto-check sync settings clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

demo: .venv-demo/ready ## serve models/, stream a text and tags from it, stop
	.venv-demo/bin/python examples/demo.py

test: lint types proto-check pytest ## everything that CI checks

lint: .venv/ready ## style of the code and of the contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo --no-cache
	.venv/bin/python client/generate_sync.py --check
	cd proto && ../.venv/bin/buf lint && ../.venv/bin/buf format --diff --exit-code

types: .venv/ready ## mypy and pyright, both strict
	.venv/bin/mypy
	.venv/bin/pyright --pythonpath .venv/bin/python

pytest: .venv/ready ## the tests; PYTEST_ARGS="-k word" runs some of them
	.venv/bin/python -m pytest $(PYTEST_ARGS)

# What meets the libraries: tokenizers, ONNX Runtime, gRPC, protobuf, pydantic and Redis.
LOWEST_TESTS = tests/server/text tests/server/model tests/server/repository tests/server/test_settings.py \
	tests/server/stores/test_redis.py tests/training/tokenizers tests/client/core tests/contract/test_served_equals_trained.py

test-lowest: .venv-lowest/ready ## a part of the tests on the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python -m pytest $(LOWEST_TESTS)

bench: .venv/ready ## the benchmarks, in 15 to 20 minutes: a table, a picture, and JSON on the last line
	.venv/bin/python -m benchmarks suite

bench-quick: .venv/ready ## the same once and shorter, in under two minutes
	.venv/bin/python -m benchmarks suite --quick

soak: .venv/ready soak-ci ## all soak tests at full length: sessions survive kills, too
	.venv/bin/python -m tests.soak kill --store sqlite
	.venv/bin/python -m tests.soak kill --store redis
	.venv/bin/python -m tests.soak replicas

soak-ci: .venv/ready ## the soak tests of 20,000 random and 20,000 mutated requests, in some minutes
	.venv/bin/python -m tests.soak requests --count 20000
	.venv/bin/python -m tests.soak fuzz --count 20000

proto: .venv-proto/ready ## regenerate the code of the contracts
	PYTHON=$(CURDIR)/.venv-proto/bin/python proto/generate.sh

proto-check: .venv-proto/ready ## fail if the committed code of the contracts is not what they generate
	PYTHON=$(CURDIR)/.venv-proto/bin/python proto/check.sh

sync: .venv/ready ## generate the blocking client from the asyncio client
	.venv/bin/python client/generate_sync.py

settings: .venv/ready ## write docs/settings.md from the settings
	.venv/bin/python -m seqserve.server.settings_page docs/settings.md

clean: ## remove the virtual environments and what was built
	rm -rf .venv .venv-demo .venv-lowest .venv-proto build dist

# $(call new_venv,PATH): an empty virtual environment, or a word about what is missing.
define new_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "seqserve needs Python 3.11 or newer as '$(PYTHON)'; name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "'$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up $(1)"
	@$(PYTHON) -m venv $(1)
endef

.venv/ready: pyproject.toml constraints.txt
	$(call new_venv,.venv)
	@.venv/bin/python $(PIP_INSTALL) --upgrade pip
	@.venv/bin/python $(PIP_INSTALL) --editable '.[all]' --group lint --group test --group bench
	@touch $@

# What a user of the server and the client installs, and no more.
.venv-demo/ready: pyproject.toml constraints.txt
	$(call new_venv,.venv-demo)
	@.venv-demo/bin/python $(PIP_INSTALL) --editable '.[server]'
	@touch $@

.venv-lowest/ready: pyproject.toml constraints.txt tests/house/lowest.py
	$(call new_venv,.venv-lowest)
	@$(PYTHON) tests/house/lowest.py > .venv-lowest/constraints.txt
	@.venv-lowest/bin/python $(PIP_INSTALL) --upgrade pip
	@PIP_CONSTRAINT=$(CURDIR)/.venv-lowest/constraints.txt \
		.venv-lowest/bin/python $(PIP_INSTALL) --editable '.[all]' --group test
	@touch $@

# Apart, and without the constraints: generated code is made by the oldest generator whose runtime is supported.
.venv-proto/ready: pyproject.toml
	$(call new_venv,.venv-proto)
	@PIP_CONSTRAINT= .venv-proto/bin/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	@PIP_CONSTRAINT= .venv-proto/bin/python $(PIP_INSTALL) --group proto
	@touch $@
