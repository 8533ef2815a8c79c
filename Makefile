# `make` lists what there is. Each recipe is one call of one command; see ops/.
ENV ?= local
SITE ?= onprem
ISTHMUS := @ops/isthmus

.DEFAULT_GOAL := help
.PHONY: help up test check preview status down env machine predict backups bench mirror

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

up: ## set up what the machine lacks, fill the mirror, build the environment, wait until it answers [ENV=local] [HOSTS=1 repairs edited hosts]
	$(ISTHMUS) up --env $(ENV) $(if $(HOSTS),--hosts)

test: ## every test; brings the environment up first if it is not [ENV=local] [ARGS="tests/e2e -k power"]
	$(ISTHMUS) test --env $(ENV) -- $(ARGS)

check: ## lint, types, unit tests; no lab
	$(ISTHMUS) check

preview: ## what `make up` would change [ARGS=--expect-no-changes] [HOSTS=1 adds the hosts' check-mode diff]
	$(ISTHMUS) preview --env $(ENV) $(if $(HOSTS),--hosts) -- $(ARGS)

status: ## the state of every part at a glance
	$(ISTHMUS) status --env $(ENV)

down: ## take the lab down; nothing is left behind [ALL=1 ends the lab of any checkout]
	$(ISTHMUS) down --env $(ENV) $(if $(ALL),--all)

env: ## shell exports for your own kubectl, pulumi, ansible: eval "$(make -s env)" [SITE=onprem]
	$(ISTHMUS) env --env $(ENV) --site $(SITE)

machine: ## a fault by hand: NAME=onprem-2 DO=power-off|power-on|freeze|thaw|reboot; NAME=cloud-vpn DO=cut|heal: the link
	$(ISTHMUS) machine --env $(ENV) "$(NAME)" "$(DO)"

predict: ## send a real digit to the served model through the site's ingress [SITE=onprem] [INDEX=0]
	$(ISTHMUS) predict --env $(ENV) --site $(SITE) $(if $(INDEX),--index $(INDEX))

backups: ## copies of etcd's backups on the other site; ARGS="HOST FOLDER" fetches one [ARGS="HOST FOLDER --before 2026-01-31T00:30"]
	$(ISTHMUS) backups --env $(ENV) $(ARGS)

bench: ## the benchmarks; writes .state/bench.json and prints a table [ARGS=inference]
	$(ISTHMUS) bench --env $(ENV) $(ARGS)

mirror: ## the site mirror: ARGS="sync|list|verify|publish URL"
	$(ISTHMUS) mirror $(or $(ARGS),list)
