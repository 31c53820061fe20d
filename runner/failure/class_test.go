package failure

import (
	"fmt"
	"testing"

	"ablate/models/train"
	"ablate/runner/launch"
	"ablate/runner/store"
)

// TestOf: libraries report lack of memory and lost devices in words.
func TestOf(t *testing.T) {
	for text, want := range map[string]Class{
		"INTERNAL: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 2048 bytes": OutOfMemory,
		"terminate called after throwing an instance of 'std::bad_alloc'":                 OutOfMemory,
		"CUDA_ERROR_OUT_OF_MEMORY: out of memory":                                         OutOfMemory,
		"fork/exec: cannot allocate memory":                                               OutOfMemory,
		"INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE":                                          Lost,
		"the reward has no labels of prompts that the memory of readers keeps":            StageError,
	} {
		if got := Of(&launch.RemoteError{Class: launch.ClassFailed, Msg: text}); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := Of(fmt.Errorf("x: %w", Classify(fmt.Errorf("y: %w", &train.DivergedError{})))); got != Diverged {
		t.Errorf("diverged: %s", got)
	}
	if got := Of(&launch.RemoteError{Class: launch.ClassFailed, Msg: "no", Stderr: "E1126 bfc_allocator: ran out of memory"}); got != OutOfMemory {
		t.Errorf("by its standard error: %s", got)
	}
}

// TestFinal: every class has a rule; what is final depends on it and on the build.
func TestFinal(t *testing.T) {
	for class, rule := range Rules {
		same, newer := Final(store.Failure{Class: string(class), Build: "a"}, "a"), Final(store.Failure{Class: string(class), Build: "a"}, "b")
		if rule.Attempts < 1 || same != (rule.Final != Again) || newer != (rule.Final == Always) {
			t.Errorf("%s: %+v: final %v, with a newer build %v", class, rule, same, newer)
		}
	}
	if Final(store.Failure{Class: "of a later version", Build: "a"}, "a") {
		t.Error("an unknown class is final")
	}
}
