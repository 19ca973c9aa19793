# The commands of this checkout. Everything runs on the distribution's Python, because bcc is a package of it.

PYTHON = /usr/bin/python3
KERNEL ?= 6.12
TIER ?= lsm
CMD ?=
ARGS ?=
LAB_TIERS = $(if $(filter command line environment,$(origin TIER)),$(TIER),lsm fmod_ret)
COMMA = ,
# Two processes: an emulated guest keeps one processor busy. Tests of one guest stay together (tests/conftest.py).
SPREAD = -n 2 --dist loadgroup

.PHONY: help demo test lint lab bench link drill channels clean

help:
	@echo 'make demo                          show it working on this machine, and leave nothing behind'
	@echo 'make test                          unit, native and lab tests (ARGS="-k word" to choose)'
	@echo 'make lint                          flake8, mypy, and clang over bpf/'
	@echo 'make lab KERNEL=newest TIER=lsm    the lab tests on one kernel (6.1, 6.12, newest); without TIER: lsm and fmod_ret'
	@echo 'make lab KERNEL=6.1 CMD="nbsp doctor"      one command there'
	@echo 'make channels                      docs/channels.md anew, after a change of a table of channels'
	@echo 'make bench                         the budgets'
	@echo 'make deb                           the Debian package, in dist/'

demo:
	@tests/install-deps run
	@$(PYTHON) -m tests.demo

test:
	@tests/install-deps lab
	@$(MAKE) --no-print-directory drill
	$(PYTHON) -m pytest $(SPREAD) --durations=15 $(ARGS) tests/lab tests/native tests/unit

# What `nbsp drill` of this checkout runs, in build/drill.
drill:
	@$(MAKE) --no-print-directory -C drill

lint: link
	@tests/install-deps lint
	$(PYTHON) -m flake8 daemon tests bench
	MYPYPATH=build/lint $(PYTHON) -m mypy -p nbspd
	MYPYPATH=build/lint $(PYTHON) -m mypy -p tests.lab
	@if [ -x bpf/lint ]; then echo bpf/lint; bpf/lint; fi

# The folder daemon/ is the package nbspd; mypy knows a package only by its folder's name.
link:
	@mkdir -p build/lint && ln -sfn ../../daemon build/lint/nbspd

# docs/channels.md is made from the tables of coverage, programs and drill; a test wants it up to date.
channels: link
	PYTHONPATH=build/lint $(PYTHON) -m nbspd.cli.document > build/channels.md && mv build/channels.md docs/channels.md

lab:
	@tests/install-deps lab
ifeq ($(CMD),)
	NBSPD_LAB_MATRIX=$(subst $() ,$(COMMA),$(strip $(foreach tier,$(LAB_TIERS),$(KERNEL):$(tier)))) \
		$(PYTHON) -m pytest $(SPREAD) --durations=15 $(ARGS) tests/lab
else
	@$(PYTHON) -m tests.lab --kernel $(KERNEL) --tier $(TIER) -- '$(CMD)'
endif

bench:
	@tests/install-deps lab
	$(PYTHON) -m bench $(ARGS)

clean:
	rm -rf build dist .mypy_cache .pytest_cache .hypothesis

include packaging.mk
