// Package program identifies the running program: its commit, its build, and the
// versions of the libraries that compute for it.
package program

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
)

// Build identifies the running program down to its bytes: the SHA-256 of its file as
// 64 hexadecimal digits, empty if the file cannot be read. It reads the whole file
// once, which takes a noticeable time: only call it where the answer is needed.
func Build() string { return build() }

// On Linux /proc/self/exe is the file that runs, even after another file was put in
// its place.
var build = sync.OnceValue(func() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		name, err := os.Executable()
		if err != nil {
			return ""
		}
		if f, err = os.Open(name); err != nil {
			return ""
		}
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
})

// Commit is the commit that the program was built from, with -dirty if the tree had
// changes. It is empty if the build recorded none, as 'go run' does.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}

// Version is the commit, or, without one, the module's version and the beginning of
// the build, so that two different programs have two versions.
func Version() string {
	if c := Commit(); c != "" {
		return c
	}
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = strings.Trim(info.Main.Version, "()")
	}
	return version + "+" + Build()[:min(12, len(Build()))]
}

// Libraries are the modules that compute, in the order in which they are printed.
var Libraries = []string{"gomlx", "go-xla"}

// Modules maps each of Libraries to its version.
func Modules() map[string]string {
	list := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			for _, name := range Libraries {
				if d.Path == "github.com/gomlx/"+name {
					list[name] = d.Version
				}
			}
		}
	}
	return list
}
