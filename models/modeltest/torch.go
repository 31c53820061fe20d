package modeltest

import (
	"os"
	"testing"
)

// Torch returns a Python with the packages of the engines, which ABLATE_TEST_TORCH names. Without it the test is skipped,
// or fails if ABLATE_TEST_STRICT=1.
func Torch(t testing.TB) string {
	t.Helper()
	python := os.Getenv("ABLATE_TEST_TORCH")
	if python == "" {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatal("ABLATE_TEST_TORCH must name a Python with the packages of runner/engine/python/requirements.lock")
		}
		t.Skip("needs a Python with the packages of runner/engine/python/requirements.lock: name it with ABLATE_TEST_TORCH")
	}
	return python
}
