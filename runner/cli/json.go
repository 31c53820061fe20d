package cli

import (
	"encoding/json"
	"io"
)

// head begins every object that a command prints as JSON.
type head struct {
	Format string `json:"format"` // name and version of the schema of this object, "ablate.NAME/VERSION"; 'ablate schema --json-schema NAME' prints it
}

// Schema is the name and version of the document's JSON schema.
func (h head) Schema() string { return h.Format }

// document is an object that a command prints as JSON.
type document interface{ Schema() string }

// printJSON prints a document. Commands encode JSON only here, so that everything that
// they print has a schema.
func printJSON(w io.Writer, d document) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(d)
}
