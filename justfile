set shell := ["bash", "-euo", "pipefail", "-c"]

_help:
    @just --list --unsorted

# run the quickstart study, or another
run study="experiments/quickstart" *args:
    go run . run {{study}} {{args}}

# run all tests
test *args="./...":
    go test {{args}}

# benchmarks (need Python): plans against Hydra, training steps against JAX, the quickstart study; or one: just bench actions, just bench diffusion, just bench full
bench *args:
    bash .ci/bench {{args}}

# Stable Diffusion 1.5 at its full size beside PyTorch on this machine's GPU; PYTHON names a Python with PyTorch and jax[cuda13]
bench-gpu *args:
    bash .ci/bench gpu {{args}}

# format every Go file
fmt:
    gofmt -w .

# the static checks of CI
lint:
    go vet ./... && go tool -modfile=runner/internal/tools/tools.mod staticcheck ./...

# rewrite the expected outputs of tests (review the diff)
golden:
    UPDATE=1 go test ./...

# write a study's report from the results in the store
report study="experiments/quickstart":
    go run . report {{study}}

# fuzz one target: just fuzz ./models/checkpoint FuzzDecode
fuzz pkg target time="60s":
    go test {{pkg}} -run '^$' -fuzz '^{{target}}$' -fuzztime {{time}}

# run the gate study of the shapes world (7 to 30 minutes on two cores), the whole probe of its engine, compile a step of Stable Diffusion and take one in 8 GB of memory, compile steps for an H100 (ABLATE_TEST_CUDA names a Python with jax[cuda12]), 200 faults of real stages, 1000 of no-op stages and 1000 below the store, and kill a study on engines 20 times (ABLATE_TEST_TORCH names their Python)
long:
    go run . run experiments/gate
    ABLATE_TEST_LONG=1 go test ./runner/native ./models/nn ./models/unet ./models/stable -v -timeout 60m
    ABLATE_TEST_FAULTS=200 go test ./runner/cli -run 'TestFaults$' -v -timeout 30m
    ABLATE_TEST_FAULTS=20 go test ./runner/cli -run 'TestEngines$' -v -timeout 60m
    ABLATE_TEST_FAULTS=1000 go test ./runner/run ./runner/store -run 'TestNoopFaults$|TestBrokenDisk$' -v -timeout 30m

# run everything that CI runs
ci:
    bash .ci/run
