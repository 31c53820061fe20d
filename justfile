set shell := ["bash", "-euo", "pipefail", "-c"]

_help:
    @just --list --unsorted

# run the quickstart study, or another
run study="experiments/quickstart" *args:
    go run . run {{study}} {{args}}

# all tests
test *args="./...":
    go test {{args}}

# budgets of a training step beside JAX, and of the quickstart study (Python only here)
bench:
    bash .ci/bench

# format every Go file
fmt:
    gofmt -w .

# what CI checks besides tests
lint:
    go vet ./... && go tool -modfile=runner/internal/tools/tools.mod staticcheck ./...

# rewrite golden files (review the diff)
golden:
    UPDATE=1 go test ./...

# write a study's report from what the store has
report study="experiments/quickstart":
    go run . report {{study}}

# fuzz one target: just fuzz ./models/checkpoint FuzzDecode
fuzz pkg target time="60s":
    go test {{pkg}} -run '^$' -fuzz '^{{target}}$' -fuzztime {{time}}

# the gate of the shapes world: four runs, every arm (about half an hour on two cores)
long:
    go run . run experiments/gate

# everything CI runs
ci:
    bash .ci/run
