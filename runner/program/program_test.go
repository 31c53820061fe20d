package program

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// TestBuild: the build is the hash of the running file, and a program without a
// commit is told apart by it.
func TestBuild(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if want := hex.EncodeToString(sum[:]); Build() != want {
		t.Errorf("build %s, want %s", Build(), want)
	}
	if Commit() == "" && !strings.HasSuffix(Version(), "+"+Build()[:12]) {
		t.Errorf("version %s does not end in the beginning of the build %s", Version(), Build())
	}
}
