package cli

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"ablate/analysis/gate"
	"ablate/analysis/table"
	"ablate/docs"
	"ablate/reports/text"
	"ablate/runner/device"
	"ablate/runner/engine"
	"ablate/runner/internal/example"
	"ablate/runner/project"
	"ablate/runner/result"
	"ablate/runner/sample"
)

// documents are the values that commands print as JSON, by name and version of the
// schema.
var documents = map[string]any{
	checkFormat: checkDocument{}, text.DiffFormat: text.DiffDocument{}, doctorFormat: doctorDocument{}, labelFormat: labelDocument{}, downloadFormat: downloadDocument{}, explainFormat: explainDocument{}, exportFormat: exportDocument{},
	fieldFormat: fieldDocument{}, floorFormat: floorDocument{}, importFormat: importDocument{}, labelImportFormat: labelImportDocument{}, planFormat: planDocument{}, statusFormat: statusDocument{}, retryFormat: retryDocument{}, logsFormat: logsDocument{}, workerFormat: workerDocument{}, reportFormat: reportDocument{},
	runFormat: runDocument{}, schemaFormat: schemaDocument{}, text.DocumentFormat: text.Document{}, versionFormat: versionDocument{}, vetFormat: vetDocument{},
	probeFormat: probeDocument{}, gcFormat: gcDocument{}, mergeFormat: mergeDocument{}, verifyFormat: verifyDocument{}, sample.Format: sample.Document{},
	"ablate.baseline/2": gate.Baseline{},
}

// engineFiles are the files that ablate and an engine exchange (docs/engines.md). They have a
// schema as documents have, but name no format.
var engineFiles = map[string]any{
	"engine-description": engine.Description{}, "engine-request": engine.Request{}, "engine-row": engine.Row{}, "engine-stop": engine.Stop{},
	"engine-output-row": engine.OutputRow{}, "engine-progress": engine.Progress{}, "engine-checkpoint": engine.Checkpoint{}, "engine-result": engine.Result{},
	"engine-estimate-request": engine.EstimateRequest{}, "engine-estimate": engine.EstimateAnswer{},
}

// nameOf is the name in "ablate.NAME/VERSION".
func nameOf(format string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(format, "ablate."), "/")
	return name
}

// node is a JSON schema (draft 2020-12).
type node struct {
	Draft       string     `json:"$schema,omitempty"`
	ID          string     `json:"$id,omitempty"`
	Title       string     `json:"title,omitempty"`
	Ref         string     `json:"$ref,omitempty"`
	Description string     `json:"description,omitempty"`
	Type        any        `json:"type,omitempty"`
	Const       any        `json:"const,omitempty"`
	Enum        []string   `json:"enum,omitempty"`
	AnyOf       []*node    `json:"anyOf,omitempty"`
	Items       *node      `json:"items,omitempty"`
	MinItems    int        `json:"minItems,omitempty"`
	MaxItems    int        `json:"maxItems,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	Required    []string   `json:"required,omitempty"`
	Values      *node      `json:"additionalProperties,omitempty"`
	Defs        properties `json:"$defs,omitempty"`
}

// properties are schemas by name, in order.
type properties []property

type property struct {
	name string
	node *node
}

func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, x := range p {
		name, err := json.Marshal(x.name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(x.node)
		if err != nil {
			return nil, err
		}
		b.WriteString([]string{"{", ","}[min(i, 1)])
		b.Write(slices.Concat(name, []byte(":"), value))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// generator makes schemas of Go types, with the comments of their fields.
type generator struct {
	t      *testing.T
	source map[string]*source // by import path
	defs   map[string]*node
	order  []string
}

// source has the comments of a package by type and by "Type.Field", and the values of its
// constants by type.
type source struct {
	docs   map[string]string
	values map[string][]string
}

func (g *generator) read(pkg string) *source {
	if s := g.source[pkg]; s != nil {
		return s
	}
	s := &source{map[string]string{}, map[string][]string{}}
	g.source[pkg] = s
	files, err := filepath.Glob(filepath.Join("../..", filepath.FromSlash(strings.TrimPrefix(pkg, "ablate/")), "*.go"))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, is := d.(*ast.GenDecl); is {
				for _, spec := range d.Specs {
					s.add(d, spec)
				}
			}
		}
	}
	return s
}

func (s *source) add(d *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		s.docs[spec.Name.Name] = prose(spec.Name.Name, spec.Doc, d.Doc)
		if of, is := spec.Type.(*ast.StructType); is {
			for _, f := range of.Fields.List {
				for _, n := range f.Names {
					s.docs[spec.Name.Name+"."+n.Name] = prose(n.Name, f.Doc, f.Comment)
				}
			}
		}
	case *ast.ValueSpec:
		if of, is := spec.Type.(*ast.Ident); is && d.Tok == token.CONST {
			for _, v := range spec.Values {
				if lit, is := v.(*ast.BasicLit); is && lit.Kind == token.STRING {
					value, _ := strconv.Unquote(lit.Value)
					s.values[of.Name] = append(s.values[of.Name], value)
				}
			}
		}
	}
}

// prose returns the first comment that exists, on one line and without the Go name with
// which it may begin.
func prose(name string, groups ...*ast.CommentGroup) string {
	for _, c := range groups {
		if s := strings.Join(strings.Fields(c.Text()), " "); s != "" {
			for _, begin := range []string{name + " is ", name + " are "} {
				s = strings.TrimPrefix(s, begin)
			}
			return s
		}
	}
	return ""
}

// null also allows null.
func null(n *node) *node {
	if kind, is := n.Type.(string); is && n.Enum == nil {
		n.Type = []string{kind, "null"}
		return n
	}
	return &node{AnyOf: []*node{n, {Type: "null"}}}
}

// schema returns the schema of a type. Types whose values may be nil also allow null.
func (g *generator) schema(t reflect.Type) *node {
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) && t.Kind() != reflect.Pointer { // an id, or a time
		return &node{Type: "string"}
	}
	if t == reflect.TypeFor[json.RawMessage]() {
		return &node{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return null(g.schema(t.Elem()))
	case reflect.Slice:
		return null(&node{Type: "array", Items: g.schema(t.Elem())})
	case reflect.Array:
		return &node{Type: "array", Items: g.schema(t.Elem()), MinItems: t.Len(), MaxItems: t.Len()}
	case reflect.Map:
		return null(&node{Type: "object", Values: g.schema(t.Elem())})
	case reflect.Bool:
		return &node{Type: "boolean"}
	case reflect.Int, reflect.Int64:
		return &node{Type: "integer"}
	case reflect.Float64:
		return &node{Type: "number"}
	case reflect.String:
		n := &node{Type: "string"}
		if t.PkgPath() != "" {
			if n.Enum = g.read(t.PkgPath()).values[t.Name()]; n.Enum == nil {
				g.t.Errorf("%s has no constants of which its values are", t)
			}
		}
		return n
	case reflect.Interface:
		return &node{}
	case reflect.Struct:
		name := t.Name()
		if g.defs[name] == nil {
			n := &node{}
			g.defs[name] = n
			g.order = append(g.order, name)
			*n = *g.object(t)
		}
		return &node{Ref: "#/$defs/" + name}
	}
	g.t.Fatalf("no schema for the type %s", t)
	return nil
}

// object is the schema of a struct, with the fields of those that it embeds.
func (g *generator) object(t reflect.Type) *node {
	s := g.read(t.PkgPath())
	n := &node{Type: "object", Description: s.docs[t.Name()]}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		of := f.Type
		if of.Kind() == reflect.Pointer && f.Anonymous {
			of = of.Elem()
		}
		switch {
		case f.Anonymous && name == "":
			embedded := g.object(of)
			n.Properties, n.Required = append(n.Properties, embedded.Properties...), append(n.Required, embedded.Required...)
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			g.t.Errorf("%s.%s has no name in JSON", t, f.Name)
		}
		x := g.schema(f.Type)
		if options == "omitzero" { // then the field may be absent
		} else if options == "omitempty" {
			if k := f.Type.Kind(); k == reflect.Pointer || k == reflect.Slice || k == reflect.Map { // then the field is absent, and never null
				x = without(x)
			}
		} else {
			n.Required = append(n.Required, name)
		}
		x.Description = s.docs[t.Name()+"."+f.Name]
		n.Properties = append(n.Properties, property{name, x})
	}
	return n
}

// without no longer allows null.
func without(n *node) *node {
	if n.AnyOf != nil {
		return n.AnyOf[0]
	}
	if kinds, is := n.Type.([]string); is {
		n.Type = kinds[0]
	}
	return n
}

const draft = "https://json-schema.org/draft/2020-12/schema"

// ofDocument is the schema of a document.
func ofDocument(t *testing.T, format string, v any) *node {
	g := &generator{t: t, source: map[string]*source{}, defs: map[string]*node{}}
	n := g.object(reflect.TypeOf(v))
	_, version, _ := strings.Cut(format, "/")
	n.Draft, n.ID, n.Title = draft, "urn:ablate:"+nameOf(format)+":"+version, format
	for _, p := range n.Properties {
		switch {
		case p.name == "format" && documents[format] != nil:
			p.node.Const = format
		case p.name == "protocol":
			p.node.Const = engine.Protocol
		case p.name == "version" && nameOf(format) == "baseline":
			p.node.Const, _ = strconv.Atoi(version)
		}
	}
	for _, name := range g.order {
		n.Defs = append(n.Defs, property{name, g.defs[name]})
	}
	return n
}

// ofTable is the schema of a study's table, an array of rows.
func ofTable(name string, tab *table.Table) *node {
	kinds := map[table.Kind]string{table.String: "string", table.Float: "number", table.Int: "integer", table.Bool: "boolean", table.Time: "string"}
	row := &node{Type: "object"}
	for _, c := range tab.Columns {
		x := &node{Type: kinds[c.Kind], Description: c.Doc}
		if c.Kind == table.Float || c.Valid != nil { // NaN and infinities are null
			x = null(x)
		}
		row.Properties, row.Required = append(row.Properties, property{c.Name, x}), append(row.Required, c.Name)
	}
	return &node{Draft: draft, ID: "urn:ablate:" + name + ":1", Title: "'ablate table --table " + name + " --json': a row of " + name + ".arrow for each object", Type: "array", Items: row}
}

// tables are those of a study that has run nothing.
func tables(t *testing.T) *result.Result {
	t.Helper()
	s := example.Study(t, "seeds: [1]\narms: {plain: set: {}, beta: sweep: \"finetune.beta\": [0, 0.5]}")
	p, err := project.Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.LayOut(t.Context(), s.Views); err != nil {
		t.Fatal(err)
	}
	r, err := result.Gather(t.Context(), p, device.CPU)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// golden compares a file with what it should be, or writes it.
func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(name, want, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Errorf("%v: UPDATE=1 go test ./runner/cli -run 'TestSchemas|TestDataPage' writes it", err)
		return
	}
	if d := cmp.Diff(string(want), string(have)); d != "" {
		t.Errorf("%s (-want +got):\n%s\nUPDATE=1 go test ./runner/cli -run 'TestSchemas|TestDataPage' writes it", name, d)
	}
}

// TestSchemas: docs/schema has the JSON schema of everything that a command prints as JSON and
// of the files of engines, and nothing else.
func TestSchemas(t *testing.T) {
	want := map[string]*node{}
	for format, v := range documents {
		want[nameOf(format)] = ofDocument(t, format, v)
	}
	for name, v := range engineFiles {
		want[name] = ofDocument(t, fmt.Sprintf("ablate.%s/%d", name, engine.Protocol), v)
	}
	r := tables(t)
	for _, name := range result.Names {
		want[name] = ofTable(name, r.Named(name))
	}
	for name, n := range want {
		b, err := marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err != nil {
			t.Fatal(err)
		}
		golden(t, "../../docs/schema/"+name+".json", out.Bytes())
	}
	have, err := fs.Glob(os.DirFS("../../docs/schema"), "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range have {
		if want[strings.TrimSuffix(file, ".json")] == nil {
			t.Errorf("docs/schema/%s is of nothing that a command prints or an engine exchanges", file)
		}
	}
	// The object on imported studies, which programs read, has exactly these keys.
	keys := []string{"arm", "reference", "metric", "estimate", "interval", "levels", "p", "pCorrected", "significant", "equivalent", "seeds", "needs"}
	for _, d := range want["table"].Defs {
		if d.name == "Comparison" {
			if diff := cmp.Diff(keys, d.node.Required); diff != "" || len(d.node.Properties) != len(keys) {
				t.Errorf("keys of a comparison (-want +got):\n%s", diff)
			}
		}
	}
}

// TestDocuments: every command with --json has a document with a schema, and commands
// encode JSON only in printJSON, which accepts only documents.
func TestDocuments(t *testing.T) {
	names := map[string]bool{}
	for format := range documents {
		names[nameOf(format)] = true
	}
	for _, c := range commands(newRoot(&globals{})) {
		if c.Flags().Lookup("json") != nil && !names[strings.ReplaceAll(name(c), " ", "-")] {
			t.Errorf("'ablate %s --json' has no schema: add its document to documents, and UPDATE=1 go test ./runner/cli -run TestSchemas", name(c))
		}
	}
	types := map[string]bool{}
	for _, v := range documents {
		types[reflect.TypeOf(v).Name()] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if i.Path.Value == `"encoding/json"` && name != "json.go" {
				t.Errorf("%s encodes JSON by itself: printJSON does that for documents", name)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, is := n.(*ast.TypeSpec)
			if !is {
				return true
			}
			of, is := spec.Type.(*ast.StructType)
			if is && len(of.Fields.List) > 0 && types[spec.Name.Name] == false {
				if id, is := of.Fields.List[0].Type.(*ast.Ident); is && id.Name == "head" {
					t.Errorf("%s: %s is not one of documents, and has no schema", name, spec.Name.Name)
				}
			}
			return true
		})
	}
}

// Valid returns an error if JSON does not match the schema of a name, or has a field that
// the schema does not describe. The scripts check the output of commands with it.
func Valid(name string, in []byte) error {
	b, _ := docs.Schema(name)
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	closed(schema)
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, schema); err != nil {
		return err
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(in))
	if err != nil {
		return err
	}
	return compiled.Validate(v)
}

// closed allows objects no other fields than the schema has.
func closed(v any) {
	switch v := v.(type) {
	case map[string]any:
		if v["type"] == "object" && v["additionalProperties"] == nil {
			v["additionalProperties"] = false
		}
		for _, x := range v {
			closed(x)
		}
	case []any:
		for _, x := range v {
			closed(x)
		}
	}
}

// TestValid: the check of the output of commands finds fields that are missing, unknown
// or of another type.
func TestValid(t *testing.T) {
	good := `{"format": "ablate.report/1", "files": ["index.html"]}`
	if err := Valid("report", []byte(good)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{`{"files": []}`, `{"format": "ablate.report/2", "files": []}`, `{"format": "ablate.report/1", "files": [1]}`, `{"format": "ablate.report/1", "files": [], "more": 1}`, `[]`} {
		if Valid("report", []byte(bad)) == nil {
			t.Errorf("valid: %s", bad)
		}
	}
	// Each schema follows the rules of its draft, and the scripts check the output of its
	// command.
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range scripts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	for _, name := range docs.Schemas() {
		b, _ := docs.Schema(name)
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020)
		if err := c.AddResource(name, schema); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Compile(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Contains(all, []byte("\nvalid "+name+"\n")) {
			t.Errorf("no script checks what is printed against the schema %s", name)
		}
	}
}
