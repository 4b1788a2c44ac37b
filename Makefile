# Two commands do everything on a bare Debian 12 machine: `make demo` and `make test`.
# What they need is installed on the way: uv, the Python environment, system packages, programs.
# Nothing goes into the repository but .venv; the rest lies in STOKER_CACHE_DIR.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STOKER_CACHE_DIR ?= /var/cache/stoker
export STOKER_CACHE_DIR
UV_VERSION := 0.13.8
UV := $(STOKER_CACHE_DIR)/tools/bin/uv
CLUSTER ?= local
export CLUSTER REGISTRY
export PATH := $(STOKER_CACHE_DIR)/tools/bin:$(PATH)
PYTHON := .venv/bin/python
READY := .venv/.ready
# Two files of tests at a time, in the order of their cost; one process takes the cluster's phases, last.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test lint unit e2e up down status images generate site screenshots

help: ## show this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY) ## bring a cluster up and run the main job on it (CLUSTER=current REGISTRY=… for yours)
	@$(PYTHON) -m e2e.demo

test: lint ## check everything: style, types, layers, then all tests, the real cluster included
	@$(PYTHON) -m e2e.cluster programs >/dev/null
	@.venv/bin/pytest $(SIDE_BY_SIDE) tests e2e

unit: $(READY) ## run the tests that need no cluster
	@.venv/bin/pytest $(SIDE_BY_SIDE) tests

e2e: $(READY) ## run the tests on the cluster
	@.venv/bin/pytest e2e

lint: $(READY) ## check style, types, layers, and that the lock file is in step
	@$(UV) lock -q --check
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/mypy -p e2e -p tests -p charts.observability -p docs.tools -p benchmarks
	@.venv/bin/lint-imports

up: $(READY) ## start the local cluster
	@$(PYTHON) -m e2e.cluster up

down: $(READY) ## take the local cluster away, leaving no trace
	@$(PYTHON) -m e2e.cluster down

status: $(READY) ## show what runs
	@$(PYTHON) -m e2e.cluster status

images: $(READY) ## build and push the images that the cluster lacks
	@$(PYTHON) -m e2e.cluster images

generate: $(READY) ## write what is generated from the sources again (CRDs, the chart's copies, rules, dashboards, pages)
	@.venv/bin/stoker crd
	@$(PYTHON) -m charts.observability
	@$(PYTHON) -m stoker.telemetry.reference
	@$(PYTHON) -m docs.tools

site: $(READY) ## build the documentation's site into ./site
	@$(PYTHON) -m docs.tools site

screenshots: $(READY) ## draw the pictures of the dashboards (see docs/dashboards.md)
	@$(PYTHON) -m e2e.viewer

# A virtual environment of Python's own is enough to fetch uv; uv makes the project's.
$(UV):
	@echo "installing uv $(UV_VERSION) into $(STOKER_CACHE_DIR)/tools" >&2
	@if ! python3 -m venv --help >/dev/null 2>&1 || ! python3 -c 'import ensurepip' 2>/dev/null; then \
	    if [ "$$(id -u)" != 0 ]; then \
	        echo "error: Python's venv module is missing: run 'apt-get install python3-venv' as root." >&2; exit 1; \
	    fi; \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends python3-venv; \
	fi
	@mkdir -p $(STOKER_CACHE_DIR) || { \
	    echo "error: $(STOKER_CACHE_DIR) cannot be made: run as root, or set STOKER_CACHE_DIR." >&2; exit 1; }
	@python3 -m venv $(STOKER_CACHE_DIR)/tools
	@$(STOKER_CACHE_DIR)/tools/bin/pip install -q "uv==$(UV_VERSION)" || { \
	    echo "error: uv could not be installed from PyPI: check the network and pip's settings." >&2; exit 1; }

$(READY): pyproject.toml uv.lock | $(UV)
	@echo "preparing the Python environment (.venv)" >&2
	@$(UV) sync -q --all-extras --locked
	@touch $@
