# Everything a newcomer needs is `make demo` and `make test`; each sets up its own virtual environment.
PYTHON ?= python3
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
export PIP_CONSTRAINT = $(CURDIR)/constraints.txt

.PHONY: demo test lint types proto proto-check pytest clean

demo: .venv-demo/ready ## serve models/, stream a text and tags from it, stop
	.venv-demo/bin/python examples/demo.py

test: lint types proto-check pytest ## everything that CI checks

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	cd proto && ../.venv/bin/buf lint && ../.venv/bin/buf format --diff --exit-code

types: .venv/ready
	.venv/bin/mypy
	.venv/bin/pyright --pythonpath .venv/bin/python

pytest: .venv/ready
	.venv/bin/pytest $(PYTEST_ARGS)

proto: .venv-proto/ready ## generate the code of the contracts anew
	PYTHON=$(CURDIR)/.venv-proto/bin/python proto/generate.sh

proto-check: .venv-proto/ready ## fail if the committed code of the contracts is not what they generate
	PYTHON=$(CURDIR)/.venv-proto/bin/python proto/check.sh

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP_INSTALL) --upgrade pip
	.venv/bin/python $(PIP_INSTALL) --editable '.[all]' --group lint --group test
	touch $@

.venv-demo/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(PIP_INSTALL) --upgrade pip
	.venv-demo/bin/python $(PIP_INSTALL) --editable '.[server]'
	touch $@

.venv-proto/ready: pyproject.toml
	$(PYTHON) -m venv .venv-proto
	PIP_CONSTRAINT= .venv-proto/bin/python $(PIP_INSTALL) --upgrade pip
	PIP_CONSTRAINT= .venv-proto/bin/python $(PIP_INSTALL) --group proto
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-proto build dist
