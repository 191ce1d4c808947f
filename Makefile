# From a fresh clone every target installs what it needs. `make check` is the fast loop, `make test` everything that this
# host can run, `make prove` the long one.

.PHONY: build check test prove demo bench reference clean
.DEFAULT_GOAL := build

# npm writes this file when an installation is complete.
INSTALLED := node_modules/.package-lock.json

$(INSTALLED): package-lock.json
	npm ci
	@touch $@

build: $(INSTALLED)
	npx --no-install tsc -p tsconfig.build.json
	node scripts/bundle.mjs

check: $(INSTALLED)
	node scripts/check.mjs

test: build
	node scripts/test.mjs

prove: build
	node scripts/test.mjs prove

demo: build
	node scripts/isolated.mjs node dist/scripts/demo.js

# Figures are JSON, one object a line, on standard output; all other words of this target go to standard error.
bench:
	@$(MAKE) --no-print-directory build >&2
	@node scripts/bench.mjs

reference: $(INSTALLED)
	node scripts/reference.mjs

clean:
	rm -rf dist .cache bin/fairlead bin/quobyte-sandbox
