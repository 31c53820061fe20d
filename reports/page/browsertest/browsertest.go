// Package browsertest opens pages in headless Chromium, for tests and benchmarks.
package browsertest

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Command returns Chromium with an address to open, a folder for its profile, and further flags.
func Command(url, profile string, flags ...string) (*exec.Cmd, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if bin, err := exec.LookPath(name); err == nil {
			args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
				"--disable-component-update", "--disable-sync", "--user-data-dir=" + profile}, flags...)
			return exec.Command(bin, append(args, url)...), nil
		}
	}
	return nil, errors.New("needs Chromium (Debian's package chromium)")
}

// Open opens a page and returns the document after its scripts. A script error or a failed load is logged to the
// console and fails the test. Without Chromium the test is skipped, or fails if ABLATE_TEST_STRICT=1.
func Open(t testing.TB, url string, flags ...string) string {
	t.Helper()
	cmd, err := Command(url, t.TempDir(), append([]string{"--enable-logging=stderr", "--window-size=1200,900", "--dump-dom"}, flags...)...)
	if err != nil {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	for line := range strings.Lines(errs.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("console: %s", line)
		}
	}
	return out.String()
}

var result = regexp.MustCompile(`data-result="([^"]*)"`)

// Said returns the text that a probe wrote into the document's data-result.
func Said(t testing.TB, dom string) string {
	t.Helper()
	m := result.FindStringSubmatch(dom)
	if m == nil {
		t.Fatalf("the probe wrote nothing:\n%.2000s", dom)
	}
	return m[1]
}

// Axe returns axe-core, which ABLATE_TEST_AXE names (axe.min.js). Without it the test is skipped, or fails if
// ABLATE_TEST_STRICT=1.
func Axe(t testing.TB) []byte {
	t.Helper()
	name := os.Getenv("ABLATE_TEST_AXE")
	if name == "" {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatal("needs axe-core: set ABLATE_TEST_AXE to axe.min.js")
		}
		t.Skip("needs axe-core: set ABLATE_TEST_AXE to axe.min.js")
	}
	axe, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return axe
}
