# make        builds bin/sdr; with TAGS=local a smaller one, more quickly, without gs://, s3:// and Dataflow (make run takes it, too)
# make run    the main job on the images in testdata: about 5 minutes on 2 cores
# make test   the tests
# make fuzz   fuzzes all parsers, each for EXECUTIONS=10000000 or TIME=20m
# make mutate   compares 100,000 files that are changed at random with what Pillow makes of them, for NUMBER=100000 SEED=1 PYTHON=python3
# make flink-up, flink-test, flink-down   a Flink cluster on this machine, what is the same there, and its end; see docs/flink.md
# make test-gpu   builds bin/cuda.test, the tests of the GPU driver for a machine with NVIDIA's libraries but no Go
# make bench-torch   how fast sdr, PyTorch, scikit-learn and faiss are on this machine: about an hour

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
RUN     := runs/quickstart

# One setting for build, tests and vet, so that they share the build cache. The program stays static, as Beam's cloud
# workers need it, and nothing has DWARF, which takes the compiler an eighth of its time: panics and profiles have the
# lines of the source without it.
export CGO_ENABLED := 0
export GOFLAGS := $(shell go env GOFLAGS) -gcflags=all=-dwarf=false

.PHONY: build run test test-local flink-up flink-test flink-down chaos test-gpu test-cuda test-clients fuzz mutate bench-torch lint generate generated clean

ifneq (,$(findstring local,$(TAGS)))
MODFILE := .cache/local.mod
endif

# TAGS=local leaves out what is not on this machine: gs://, s3:// and Dataflow. TAGS=nocuda leaves the GPU driver out, which
# makes the program fully static. TAGS=local,nocuda does both. The compiler collects its garbage seldom, in up to 0.9 GB.
build: $(MODFILE)
	GOGC=400 go build $(MODFILE:%=-modfile=%) -tags "$(TAGS)" -ldflags "-s -w -X main.version=$(VERSION)" -o bin/sdr ./pipelines/sdr

# Beam's worker imports gs:// itself, to upload heap profiles, so a local build takes a copy of Beam without that line.
# With it go Google's storage client, gRPC's xDS and OpenTelemetry: a quarter of the program and of the time to build it.
BEAM := github.com/apache/beam/sdks/v2
WORKER := go/pkg/beam/core/runtime/harness/init/init.go
.cache/local.mod: go.mod go.sum
	go mod download $(BEAM)
	rm -rf .cache/beam && mkdir -p .cache/beam
	src=$$(go list -m -f '{{.Dir}}' $(BEAM)) && cp -R $$src/go $$src/go.mod .cache/beam && chmod -R u+w .cache/beam && \
		sed '/filesystem\/gcs"/d' $$src/$(WORKER) >.cache/beam/$(WORKER)
	cp go.sum .cache/local.sum
	cp go.mod $@ && go mod edit -replace $(BEAM)=./.cache/beam $@

run:
	$(MAKE) build TAGS=$(or $(TAGS),local)
	bin/sdr pretrain --recipe quickstart --data testdata/pool --tasks testdata/tasks --out $(RUN) --overwrite
	bin/sdr customize --run $(RUN) --task testdata/tasks/omniglot-train.parquet --out $(RUN)/customized/omniglot --images 12800
	@echo "To open in a browser: file://$(abspath $(RUN))/report.html and, of the customized net, file://$(abspath $(RUN))/customized/omniglot/customized.html"

test:
	go test -timeout 20m -ldflags "-s -w" ./...

# That what TAGS=local leaves out is missed with a helpful error.
test-local: .cache/local.mod
	go test -modfile=.cache/local.mod -tags local -ldflags "-s -w" -run TestLocal ./pipelines/sdr

flink-up flink-down:
	pipelines/flink/flink.sh $(@:flink-%=%)

flink-test: build
	pipelines/flink/flink.sh test

# Kills runs at random moments, KILLS in all, damages a file of every other one, and compares what they end with.
KILLS := 100
chaos:
	go test ./pipelines/sdr -run '^(TestKilled|TestDamaged|TestFullDisk)$$' -chaos $$(($(KILLS) / 2)) -timeout 0 -v | grep -v level=

# Fuzzes every decoder, reader, coder and parser, for EXECUTIONS or TIME, whichever ends first; what it finds is kept as a
# seed in the package's testdata/fuzz. Coverage guides it in this module and the image decoders alone: in all that a test
# links, an execution takes a hundred times as long.
EXECUTIONS := 10000000
TIME       := 20m
fuzz:
	@for file in $$(grep -rl --include='*_test.go' --exclude-dir=.cache '^func Fuzz' . | sort); do \
		dir=$$(dirname $$file); cache=$(CURDIR)/.cache/fuzz/$$dir; mkdir -p $$cache; \
		go test -c -vet=off $(foreach p,github.com/sdr-ml/sdr image golang.org/x/image,-gcflags=$(p)/...='-d=libfuzzer -dwarf=false') -o $$cache/test $$dir || exit 1; \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' $$file); do \
			echo "$$target in $$dir"; \
			(cd $$dir && timeout --preserve-status -s INT $(TIME) $$cache/test -test.run '^$$' -test.fuzz "^$$target$$" \
				-test.fuzztime $(EXECUTIONS)x -test.fuzzminimizetime 1x -test.fuzzcachedir $$cache) >$$cache/$$target.log 2>&1; \
			status=$$?; grep execs: $$cache/$$target.log | tail -1; \
			if [ $$status != 0 ]; then cat $$cache/$$target.log; exit 1; fi; \
		done; \
	done

NUMBER := 100000
SEED   := 1
PYTHON := python3
mutate:
	SDR_MUTATIONS="$(NUMBER) $(SEED) $(PYTHON)" go test -timeout 0 -v -run TestMutations ./transforms/imageio

# Run it there as: SDR_TEST_GPU=1 ./cuda.test -test.v
test-gpu:
	go test -c -ldflags "-s -w" -o bin/cuda.test ./tensorops/cuda

# Compiles the CUDA kernels and has cuDNN plan convolutions, which needs these libraries (1.2 GB) but no GPU. Without one,
# cuDNN reads what it has to know of a GPU from a description whose format belongs to its version.
CUDA := .cache/cuda
test-cuda: $(CUDA)/installed
	SDR_CUDA_LIBS=$(CURDIR)/$(CUDA) go test -ldflags "-s -w" -run 'TestCompile|TestPlansOfCuDNN' ./tensorops/cuda

$(CUDA)/installed:
	python3 -m pip install --quiet --no-deps --target $(CUDA) nvidia-cuda-nvrtc nvidia-cudnn-cu12==9.14.0.64
	touch $@

# PyTorch is faster with tcmalloc, which is used where it is installed (Debian: apt-get install libtcmalloc-minimal4),
# and sdr bench --compile wants a C++ compiler.
TORCH := .cache/torch
bench-torch: build $(TORCH)/installed
	bin/sdr bench all --compile --torch $(TORCH)/bin/python --format table

# Opens what sdr writes with the programs that it is for: torchvision, timm, onnxruntime, the Hub's library and TensorBoard.
test-clients: build $(TORCH)/installed
	$(TORCH)/bin/python pipelines/testdata/check_export.py --sdr bin/sdr
	bin/sdr pretrain --recipe smoke --data testdata/pool --out .cache/clients --overwrite
	$(TORCH)/bin/python stages/run/tensorboard/testdata/check_tensorboard.py .cache/clients

$(TORCH)/installed:
	python3 -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet torch torchvision lightly timm pillow pyarrow onnx onnxscript onnxruntime tensorboard \
		scikit-learn faiss-cpu
	touch $@

# What else guards the project; .ci/run runs it all.
lint:
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "run gofmt -w on $$files" >&2; exit 1; }
	go vet ./...
	GOARCH=arm64 go vet ./tensorops/... # has no assembly
	go tool staticcheck ./...

generate:
	go generate ./...

# Fails when generated code or go.mod is out of step with its source.
generated: generate
	go mod tidy
	@git diff --exit-code --stat -- . || { echo "generated files are out of step: commit what 'make generate' and 'go mod tidy' made" >&2; exit 1; }

clean:
	rm -rf bin runs
