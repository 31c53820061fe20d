// Package program identifies the running program: its commit, the hash of its file (its
// build), and the versions of the libraries that it computes with.
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

// Build returns the SHA-256 of the program's file as 64 hexadecimal digits, or "" if the
// file cannot be read. The first call reads the whole file, which takes a noticeable
// time: call it only where the hash is needed.
func Build() string { return build() }

// On Linux /proc/self/exe is the file that runs, even if another file has replaced it.
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

// Identity names this program for records: its version and its build.
func Identity() string { return "ablate " + Version() + " " + Build() }

// Commit returns the commit that the program was built from, followed by -dirty if the
// tree had changes. It is empty if the build did not record a commit, as with 'go run'.
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

// Version returns the commit or, if there is none, the module's version and the beginning
// of the build, so that two different programs have different versions.
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

// Libraries are the modules that the program computes with, in the order in which they
// are printed.
var Libraries = []string{"gomlx", "go-xla"}

// Modules returns the version of each of Libraries, by name.
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
