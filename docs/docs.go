// Package docs has what describes this program's results: data.md, and the JSON schemas of
// everything that its commands print as JSON and of the files of engines. Tests of runner/cli
// write both from the Go types and their comments.
package docs

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed schema/*.json
var files embed.FS

// Schema is the JSON schema of a name; false where there is none of that name.
func Schema(name string) ([]byte, bool) {
	b, err := files.ReadFile("schema/" + name + ".json")
	return b, err == nil
}

// Schemas are the names of all schemas, sorted.
func Schemas() []string {
	list, _ := fs.Glob(files, "schema/*.json") // the pattern is right
	for i, name := range list {
		list[i] = strings.TrimSuffix(strings.TrimPrefix(name, "schema/"), ".json")
	}
	return list
}
