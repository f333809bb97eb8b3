# `make demo` runs the main job, `make test` proves the code. Each installs what it needs first: Python packages into
# .venv, and on Debian and Ubuntu the system libraries that are missing (as root, or through sudo).

PYTHON ?= python3
ARGS ?=
MSGS := ros2_ws/src/robot_rl_msgs
BIN := .venv/bin
# One thread a process: on two busy cores more of them are slower, by far.
export OMP_NUM_THREADS := 1

# Tests that measure time in one process, all others in two that get what those leave: see tests/conftest.py.
PARALLEL := -n 3

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format msgs clean gl browser

help:
	@echo "make demo    a frozen policy learns to open the lid (ARGS='--method dsrl-na --seed 3')"
	@echo "make test    style, types, import rules, then all tests (ARGS='tests/store -x')"
	@echo "make lint    style, types and import rules alone"
	@echo "make format  put the code in the house style"
	@echo "make msgs    build robot_rl_msgs, ROS 2's messages of our own, into .venv"
	@echo "make clean   remove .venv and caches; runs/ stays"

demo: gl .venv/run.stamp
	$(BIN)/robot-rl run lid_opening $(ARGS)

test: gl browser lint msgs
	$(BIN)/pytest $(or $(ARGS),$(PARALLEL))

lint: types .venv/dev.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The page's modules are JavaScript with types in comments: tsc checks them, where npm is there to bring it.
types:
	@cd tests/console/types; \
	command -v npm >/dev/null || { echo "skipped: no npm here, so the types of the page's modules are not checked"; exit 0; }; \
	test node_modules/.package-lock.json -nt package-lock.json || \
		timeout 60 npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error || \
		{ echo "skipped: npm brought no tsc, so the types of the page's modules are not checked"; exit 0; }; \
	node_modules/.bin/tsc --project . && echo "tsc: the page's modules have no type errors"

format: .venv/dev.stamp
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Where there is neither a C++ compiler nor apt to get one, the graph goes without these messages, and so do its tests.
msgs: $(if $(shell command -v c++),.venv/robot_rl_msgs.built)
	@command -v c++ >/dev/null || { $(call apt_install,g++) && $(MAKE) .venv/robot_rl_msgs.built; } || \
		{ ! command -v c++ >/dev/null && echo "going on without robot_rl_msgs: there is no C++ compiler"; }

.venv/robot_rl_msgs.built: $(wildcard $(MSGS)/*.* $(MSGS)/msg/* $(MSGS)/srv/*) .venv/msgs.stamp
	$(BIN)/cmake -G Ninja -S $(MSGS) -B build/robot_rl_msgs -DBUILD_TESTING=OFF \
		-DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DPython3_EXECUTABLE=$(CURDIR)/$(BIN)/python \
		-DCMAKE_PREFIX_PATH=$(CURDIR)/.venv -DCMAKE_INSTALL_PREFIX=$(CURDIR)/.venv
	$(BIN)/cmake --build build/robot_rl_msgs
	$(BIN)/cmake --install build/robot_rl_msgs >build/robot_rl_msgs/install.log
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "expected Python 3.11 or newer, got $$($(PYTHON) -V): set PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/%.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[$*]'
	@touch $@

# MuJoCo renders without a display through EGL, or through OSMesa where there is none.
gl:
	@$(call apt_install,libegl1 libgl1 libosmesa6) || echo "going on; cameras need one of EGL and OSMesa"

# The console's tests drive a real Chromium: the system's, or (Ubuntu has none in apt) the one playwright brings.
browser: .venv/dev.stamp
	@command -v chromium >/dev/null || $(call apt_install,chromium) || $(BIN)/playwright install --with-deps chromium

# apt_install NAMES: installs those that are missing; fails if that does not work.
define apt_install
( missing=; for name in $(1); do \
	dpkg-query --show --showformat='$${Status}' $$name 2>/dev/null | grep -q 'ok installed' || \
		missing="$$missing $$name"; \
  done; \
  test -z "$$missing" && exit 0; \
  command -v apt-get >/dev/null || { echo "no apt-get here: install yourself what gives:$$missing"; exit 1; }; \
  root=; test "$$(id -u)" = 0 || root=sudo; \
  echo "installing$$missing"; \
  $$root apt-get update -q && \
  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing )
endef
