# The commands of this project. `make` alone lists them.
#
#   DATA   what to serve: a folder, a file, s3://bucket/prefix, gs://..., az://..., https://...  (nothing: a demo slide)
#   HOST, PORT   where to serve it (127.0.0.1, 3000)
#   ARGS   further arguments of the command that is run: make serve ARGS="--workers 2", make test ARGS="-k tiff"

DATA =
HOST = 127.0.0.1
PORT = 3000
ARGS =
VENV = .venv

BIN = $(VENV)/bin
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install serve scene demo test check lint format bench wheel lock clean

help: ## List these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 17

install: ## Make the environment (.venv) with the locked packages, if it is not there
	@scripts/install.sh --into $(VENV)

serve: install ## Serve slides at http://localhost:3000/ (DATA=path-or-url, PORT=, HOST=); a demo slide without DATA
	@exec $(BIN)/microtome serve $(if $(DATA),"$(DATA)") --host $(HOST) --port $(PORT) $(ARGS)

scene: ## Serve a Slicer scene at http://localhost:3000/scene (DATA=, PORT=, HOST=); sample data without DATA
	@scripts/install.sh --scene --into $(VENV)
	@scripts/install_scene_tools.sh
	@exec $(BIN)/microtome serve $(if $(DATA),"$(DATA)",--scene-samples CTChest) --scene --host $(HOST) --port $(PORT) $(ARGS)

demo: install ## Paint a slide for demonstration into this folder
	@$(BIN)/microtome demo $(ARGS)

test: ## Install what the tests need and run everything: linters, types, contracts, tests
	@scripts/install.sh --test --into $(VENV)
	@scripts/install_test_tools.sh --into $(VENV)
	@$(MAKE) --no-print-directory lint
	$(PYTEST) $(ARGS)

check: ## What to run before every commit: linters, types, contracts, unit tests
	@scripts/install.sh --test --into $(VENV)
	@$(MAKE) --no-print-directory lint
	$(PYTEST) tests/unit tests/test_house.py -m "not slow" $(ARGS)

lint: ## Linters, formatting, types, import contracts
	@scripts/install.sh --test --into $(VENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: ## Put the code in form
	@scripts/install.sh --test --into $(VENV)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: ## Measure beside the peers and write docs/benchmarks.md
	@scripts/install.sh --test --into $(VENV)
	@scripts/install_test_tools.sh --bench --into $(VENV)
	$(BIN)/python -m benchmarks $(ARGS)

wheel: install ## Build the wheel into dist/, web pages included
	@$(BIN)/python -m pip wheel --quiet --no-index --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

lock: ## Resolve pyproject.toml into requirements/*.txt (ARGS=--upgrade for newer versions)
	scripts/lock.sh $(ARGS)

clean: ## Remove what was built or installed here (downloads and slides in .cache stay)
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache src/microtome/viewer/static/vendor
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
