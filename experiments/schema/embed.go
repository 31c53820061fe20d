// Package schema embeds the CUE schema of the study language.
//
// The .cue files beside this one are its one source of truth: a study of this
// repository imports them as part of its own CUE module, every other module is
// given this embedded copy under the same import path.
package schema

import (
	"embed"
	"io/fs"
)

// Version is the version of the study language that the schema describes, the
// number that a study may name as `version`. It salts every trial's id.
const Version = 1

// Language is the version of CUE that the schema is written in, and a module
// that vendors it names.
const Language = "v0.17.0"

// ImportPath is what a study imports. Its domain is a reserved private one, so
// that no registry is ever asked for it.
const ImportPath = "ablate.internal/schema"

// Files holds the schema's .cue files, at the root, and the presets in a folder
// of their own.
//
//go:embed *.cue presets/*.cue
var Files embed.FS

// Names lists the files, slash-separated, sorted.
func Names() ([]string, error) {
	var names []string
	err := fs.WalkDir(Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	return names, err
}
