# Two commands for a fresh machine: `make demo` and `make test`. The rest is for those who change the program.
PY ?= python3
V := .venv
BIN := $(V)/bin
UV := $(BIN)/uv
# A site's own authority (a proxy) is known to the system, not to uv.
export UV_SYSTEM_CERTS := 1

.PHONY: demo test test-quick test-whole check lint test-controlplane test-long bench lock clean

# Installed with bytecode: missing .pyc files make every start 3.5 times slower.
$(V)/.run: pyproject.toml locks/run.txt
	test -x $(BIN)/python || $(PY) -m venv $(V)
	$(BIN)/python -m pip install --quiet --require-hashes -r locks/uv.txt
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r locks/run.txt
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q coldtui
	touch $@

$(V)/.dev: pyproject.toml locks/dev.txt
	test -x $(BIN)/python || $(PY) -m venv $(V)
	$(BIN)/python -m pip install --quiet --require-hashes -r locks/uv.txt
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r locks/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps --no-build-isolation -e .
	touch $@ $(V)/.run

demo: $(V)/.run
	$(BIN)/coldtui demo

# Whole sites and whole programs at play. They mostly wait: for machines, servers and processes, as operators do. The rest is quick.
WHOLE := tests/whole tests/docs tests/operations/postgres tests/lab/hosts tests/lab/postgres $(wildcard tests/cli/test_postgres*.py) \
	$(addprefix tests/lab/test_,controllers.py demo.py acting.py) tests/cli/test_acts.py tests/adapters/ssh \
	$(addprefix tests/operations/,drain/test_live.py drain/test_kubectl.py) \
	$(addprefix tests/operations/test_,reboot.py restart_k3s.py clean_disk.py processes.py)
# Many tests start the program anew: without kept bytecode each start would compile it.
unexport PYTHONDONTWRITEBYTECODE
# For two cores. Where one test waits, another computes: hence more workers than cores.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -m "not controlplane" -n $(WORKERS) --dist worksteal

test: test-quick test-whole

# Units and the console: under two minutes.
# Its consoles mostly wait for their own repaints.
test-quick: WORKERS := 4
test-quick: $(V)/.dev
	$(PYTEST) $(WHOLE:%=--ignore=%)

test-whole: $(V)/.dev
	$(PYTEST) $(WHOLE)

lint: $(V)/.dev
	$(BIN)/ruff format --check coldtui tests benchmarks
	$(BIN)/ruff check coldtui tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

# The first time it builds Kubernetes from Go modules: about four minutes on two cores, kept in ~/.cache/coldtui.
test-controlplane: $(V)/.dev
	$(BIN)/python -m tests.controlplane.build
	COLDTUI_REQUIRE_CONTROLPLANE=1 $(BIN)/python -m pytest -m "controlplane and not long" tests

# Runners killed at every moment, troubles and two machines on the real control plane, twenty switchovers in a row: twenty minutes.
test-long: $(V)/.dev
	$(BIN)/python -m tests.controlplane.build
	COLDTUI_REQUIRE_CONTROLPLANE=1 $(BIN)/python -m pytest -m long tests

bench: $(V)/.dev
	$(BIN)/python -m benchmarks

# After changing a dependency: locks/*.in say what, locks/*.txt pin it with hashes.
lock: $(V)/.dev
	for f in run dev uv; do $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header locks/$$f.in -o locks/$$f.txt; done

clean:
	rm -rf $(V) dist
