# The commands of the project. `make demo` and `make test` need nothing but Rust, Node.js and make: they set up the rest.
.PHONY: help setup demo build package test test-quick test-setup test-build test-rust test-browser test-embed test-python test-gpu test-mpi soak bench bench-train bench-sample bench-web bench-learn screenshots reproduction read-back one-call parity data clean
# The tests and the site look for the program in target/.
unexport CARGO_TARGET_DIR

# Lints the code while it compiles it: `cargo clippy` would compile all that the code depends on a second time.
LINTED = RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings cargo

help:
	@echo "make demo    build the page and serve it on http://localhost:8080"
	@echo "make test    run every test, Rust and browser"
	@echo "make test-quick  most of the Rust suite, and the unit tests of the scripts (needs a built site)"
	@echo "make test-embed  the element in other people's projects: bundlers, frameworks (EMBED=quick: those that take seconds)"
	@echo "make test-python  the guide of Python (needs python3 with venv)"
	@echo "make test-gpu  training on a GPU against training on the CPU (compiles for long)"
	@echo "make build   leave the deployable site in dist/"
	@echo "make package leave the npm package of <mean-flow> in dist-npm/"
	@echo "make screenshots  remake docs/screenshots"
	@echo "make reproduction remake the tables and the plot of docs/reproduction from its results"
	@echo "make read-back  measure how often pictures show what their prompts say (NOUNS=path of the parts of Nouns; minutes)"
	@echo "make one-call  measure whether one call is as good as many (NOUNS as above; six minutes for each model)"
	@echo "make data    make the sets of pictures with captions in runs/data (a few minutes)"
	@echo "make parity  remake docs/parity.md of what the tests find, and docs/published.md"
	@echo "make test-mpi  training by several processes (installs Open MPI where apt can)"
	@echo "make soak    a million hostile files of each kind, two hundred kills of a run in training"
	@echo "make bench   print sizes, time to first image, time per image, training speed"
	@echo "make bench-train  a training step against PyTorch, ratios in one run (DEVICE=cuda on a GPU)"
	@echo "make bench-sample  pictures per second against PyTorch"
	@echo "make bench-web  the page's engines against ONNX Runtime Web and TensorFlow.js, in one browser"
	@echo "make bench-learn  how fast the page trains, beside the program"
	@echo "make clean   remove what was built"

setup:
	@bash web/tools/setup.sh

build: setup
	@bash web/tools/build-site.sh

demo: build
	@node web/tools/serve.mjs dist

test: test-rust test-browser test-embed
	@if bash web/tools/python.sh tests/python/requirements.txt -c ''; then $(MAKE) test-python; else \
		echo "# skipped: the guide of Python, for want of python3 with venv or of its packages"; \
		echo "# skipped $$(grep -c '    def test_' tests/python/guide.py)"; fi
	@if command -v mpicc >/dev/null; then $(MAKE) test-mpi; else \
		echo "# skipped: training by several processes, for want of MPI (make test-mpi installs it)"; \
		echo "# skipped $$(grep -c '^#\[test\]' tests/mpi.rs)"; fi

# What one runs while working: the Rust suite without what takes most of its time, shaders compiled by a driver that
# computes on the CPU and the reproduction in small, and what of the scripts needs no browser.
test-quick: test-setup
	cargo fmt --check
	$(LINTED) test --release --lib --bins --test suite -- --skip gpu:: --skip reproduction::
	node --test tests/browser/unit.test.mjs tests/browser/data.test.mjs tests/browser/lint.test.mjs

test-setup:
	@bash web/tools/setup.sh tests

test-rust: test-setup
	cargo fmt --check
	RUSTDOC=$(CURDIR)/web/tools/rustdoc.sh $(LINTED) test --release

# The site and the program, as the browser tests and the bench need them.
test-build: test-setup
	@bash web/tools/build-site.sh
	$(LINTED) build --release

test-browser: test-build
	node --test --test-reporter=spec --test-concurrency=1 tests/browser/*.test.mjs

EMBED ?= all
test-embed: test-build
	@cd tests/embed && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error; }
	MEANFLOW_EMBED=$(EMBED) node --test --test-reporter=spec tests/embed/embed.test.mjs

# docs/guide/python.md from top to bottom, with the versions of packages that it names.
test-python: test-setup
	$(LINTED) build --release
	@bash web/tools/python.sh tests/python/requirements.txt tests/python/guide.py target/release/meanflow

# On a real GPU, or by Mesa's driver that computes on the CPU, where choosing among kernels takes minutes.
test-gpu: test-setup
	CUBECL_AUTOTUNE_LEVEL=minimal cargo test --release --features wgpu --lib -- gpu

# Several processes, on the MPI of this machine.
test-mpi: test-setup
	@bash web/tools/setup.sh mpi
	$(LINTED) test --release --features mpi --test mpi

# Minutes of what the suite does for seconds.
soak: test-setup
	MEANFLOW_FUZZ=1000000 MEANFLOW_KILLS=200 cargo test --release --test suite -- fuzz kill

bench: test-build
	@node tests/browser/bench.mjs
	@target/release/meanflow bench-train crate/configs/emoji.toml crate/configs/tiles.toml

# The device also decides what is compiled: `make bench-train DEVICE=cuda` needs CUDA.
DEVICE ?= cpu
bench-train:
	cargo build --release $(if $(filter-out cpu,$(DEVICE)),--features $(DEVICE))
	@bash web/tools/python.sh tests/fixtures/requirements.txt docs/benchmarks/train.py --device $(DEVICE)

bench-sample:
	cargo build --release $(if $(filter-out cpu,$(DEVICE)),--features $(DEVICE))
	@bash web/tools/python.sh tests/fixtures/requirements.txt docs/benchmarks/sample.py --device $(DEVICE)

bench-web: test-build
	cd docs/benchmarks && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@node tests/browser/bench-web.mjs

bench-learn: test-build
	@node tests/browser/bench-learn.mjs

# The tests log what they compare with a reference; then the pages are made of that log.
PARITY_LOG = $(CURDIR)/target/parity.jsonl
parity: test-setup
	@mkdir -p target && rm -f $(PARITY_LOG)
	MEANFLOW_PARITY_LOG=$(PARITY_LOG) $(LINTED) test --release --test suite -- --skip the_page_is_made_of
	MEANFLOW_PARITY_LOG=$(PARITY_LOG) MEANFLOW_WRITE_PAGES=1 $(LINTED) test --release --test suite -- the_page_is_made_of

package: build
	@bash web/tools/build-package.sh

screenshots: test-build
	@node tests/browser/screenshots.mjs

reproduction:
	cargo build --release
	@bash docs/reproduction/tables.sh

# NOUNS: the parts of Nouns, a folder or a zip; without them, of the other sets alone.
one-call: data
	cargo build --release
	@bash docs/one-call/measure.sh $(NOUNS)

read-back: data
	cargo build --release
	@bash docs/read-back/measure.sh $(NOUNS)

data:
	cd crate/tools/data && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	node crate/tools/data/emoji-faces.mjs
	node crate/tools/data/emoji-words.mjs
	node crate/tools/data/people.mjs

clean:
	rm -rf target dist dist-npm crate/page web/engine/pkg web/node_modules docs/benchmarks/node_modules crate/tools/data/node_modules tests/embed/node_modules tests/embed/built .tools
