# Two commands: `make demo` and `make test`. Each installs what is missing, builds, and does its job.
# The rest is for people who work on the project.

BUILD ?= build
export BUILD

.PHONY: help demo test proof build wheel gpu-kit bench docs format tidy sanitize clean

help:
	@echo "make demo      compile the examples, run them on GPU or CPU and in the simulator, print masks, errors, costs"
	@echo "make test      run every test; the last line is 'N passed, N failed, N skipped'"
	@echo "make proof     the property tests at length: 5,000 random masks each, 300 random problems on each device, mutations"
	@echo "make build     configure and build into $(BUILD)/bin"
	@echo "make wheel     build the Python package as build/dist/attn-*.whl and try it in a new environment"
	@echo "make gpu-kit   pack what checks and measures the kernels on a GPU as $(BUILD)/attn-gpu-kit.tar.xz, and try it in the simulator"
	@echo "make bench     print the measured figures that the README names"
	@echo "make docs      write the generated op and pass docs"
	@echo "make format    format the C++ sources"
	@echo "make tidy      run clang-tidy over the C++ sources (slow)"
	@echo "make sanitize  unit tests of the runtime under AddressSanitizer with UBSan, and under ThreadSanitizer"

build:
	@scripts/setup.sh
	@scripts/build.sh

demo: build
	@scripts/demo.sh

test: build
	@scripts/test.sh

proof: build
	@scripts/proof.sh

wheel:
	@scripts/setup.sh
	@scripts/wheel.sh

gpu-kit: build
	@.venv/bin/python tools/gpu-kit/pack.py --build=$(BUILD) --out=$(BUILD)/gpu-kit --archive=$(BUILD)/attn-gpu-kit.tar.xz $(if $(ATTN_PTXAS),--ptxas=$(ATTN_PTXAS))
	@.venv/bin/python $(BUILD)/gpu-kit/run --device=sim --quick --out=$(BUILD)/gpu-kit-sim | tail -n 12

bench: build
	@scripts/bench.sh

docs: build
	@scripts/generate_docs.py --write

format:
	@git ls-files '*.cpp' '*.h' | xargs clang-format-22 -i

tidy: build
	@git ls-files '*.cpp' | xargs run-clang-tidy-22 -quiet -p $(BUILD)

sanitize:
	@scripts/setup.sh libclang-rt-22-dev
	@BUILD=$(BUILD)-sanitize scripts/build.sh -DATTN_ENABLE_COMPILER=OFF "-DATTN_SANITIZE=address;undefined"
	@BUILD=$(BUILD)-sanitize scripts/test.sh
	@BUILD=$(BUILD)-threads scripts/build.sh -DATTN_ENABLE_COMPILER=OFF -DATTN_SANITIZE=thread
	@BUILD=$(BUILD)-threads scripts/test.sh

clean:
	rm -rf $(BUILD) $(BUILD)-sanitize $(BUILD)-threads
