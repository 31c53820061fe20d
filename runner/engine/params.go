package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"ablate/experiments/language"
)

// strict decodes one JSON value, and refuses unknown fields.
func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("it has more than one JSON value")
	}
	return nil
}

// A member is a field of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// members returns the fields of a JSON object in their order. A repeated name is an error.
func members(data []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('{') {
		return nil, errors.New("must be an object")
	}
	var out []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: t.(string)} // the decoder allows nothing else
		if slices.ContainsFunc(out, func(o member) bool { return o.name == m.name }) {
			return nil, fmt.Errorf("%q is there twice", m.name)
		}
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	_, err = d.Token()
	return out, err
}

const (
	mostParams = 1000 // of a verb
	deepest    = 8    // levels of groups
)

// parseParams reads the schema of a verb's parameters: the small subset of JSON Schema that
// docs/engines.md lists. It also returns the values of x-probe, by parameter. Errors begin
// with the path in the schema.
func parseParams(schema json.RawMessage) (params []language.Param, tries map[string][]any, err error) {
	tries = map[string][]any{}
	if len(schema) == 0 {
		return nil, tries, nil
	}
	s := &paramReader{tries: tries}
	if err := s.walk(schema, "", "params", nil, 0); err != nil {
		return nil, nil, err
	}
	return s.out, tries, nil
}

// A paramReader collects the parameters of a verb.
type paramReader struct {
	out   []language.Param
	tries map[string][]any
}

// walk adds the parameters below a path. where is the path in the description; unused
// has the conditions of the groups around it.
func (s *paramReader) walk(schema json.RawMessage, path, where string, unused []language.Condition, depth int) error {
	list, err := members(schema)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	at := map[string]json.RawMessage{}
	for _, m := range list {
		at[m.name] = m.value
	}
	if raw, ok := at["x-unused"]; ok {
		more, err := conditions(raw)
		if err != nil {
			return fmt.Errorf("%s.x-unused: %w", where, err)
		}
		if unused != nil {
			return fmt.Errorf("%s.x-unused: the group around it has conditions already", where)
		}
		unused = more
	}
	kind := ""
	if raw, ok := at["type"]; ok && json.Unmarshal(raw, &kind) != nil {
		return fmt.Errorf("%s.type: %s; must be a string", where, short(raw))
	}
	if kind != "object" && !(path == "" && len(list) == 0) && path == "" {
		return fmt.Errorf("%s.type: %q; the parameters of a verb are an \"object\" with properties", where, kind)
	}
	if kind != "object" && path != "" {
		return s.leaf(list, kind, path, where, unused)
	}
	for _, m := range list {
		switch m.name {
		case "type", "x-unused", "description":
		case "properties":
			fields, err := members(m.value)
			if err != nil {
				return fmt.Errorf("%s.properties: %w", where, err)
			}
			if depth == deepest {
				return fmt.Errorf("%s: more than %d levels of groups", where, deepest)
			}
			for _, f := range fields {
				if !identifier(f.name) {
					return fmt.Errorf("%s.properties: %q must be letters, digits and underscores, and begin with a letter", where, f.name)
				}
				below := f.name
				if path != "" {
					below = path + "." + f.name
				}
				if err := s.walk(f.value, below, where+".properties."+f.name, unused, depth+1); err != nil {
					return err
				}
			}
		default:
			if !strings.HasPrefix(m.name, "x-") {
				return fmt.Errorf("%s: %q is not supported; an object has type, properties, description and x-unused", where, m.name)
			}
		}
	}
	return nil
}

// identifier reports whether a name can be a part of a dotted path.
func identifier(name string) bool {
	return nameable(name) && !strings.ContainsAny(name, ".-") && !(name[0] >= '0' && name[0] <= '9')
}

func short(raw []byte) string {
	if s := []rune(string(raw)); len(s) > 60 {
		return string(s[:59]) + "…"
	}
	return string(raw)
}

var kinds = map[string]language.Kind{"integer": language.Whole, "number": language.Real, "string": language.Name, "boolean": language.Truth}

// leaf adds one parameter.
func (s *paramReader) leaf(list []member, kind, path, where string, unused []language.Condition) error {
	k, ok := kinds[kind]
	if !ok {
		return fmt.Errorf("%s.type: %q; must be \"object\", \"integer\", \"number\", \"string\" or \"boolean\"", where, kind)
	}
	if len(s.out) == mostParams {
		return fmt.Errorf("%s: more than %d parameters", where, mostParams)
	}
	p := language.Param{Path: path, Kind: k, Unused: unused}
	var def, tries json.RawMessage
	for _, m := range list {
		at := where + "." + m.name
		number := func(to **float64) error {
			var x float64
			if k != language.Whole && k != language.Real {
				return fmt.Errorf("%s: a %s has no bounds", at, kind)
			}
			if err := json.Unmarshal(m.value, &x); err != nil {
				return fmt.Errorf("%s: %s; must be a number", at, short(m.value))
			}
			*to = &x
			return nil
		}
		text := func(to *string) error {
			if err := json.Unmarshal(m.value, to); err != nil {
				return fmt.Errorf("%s: %s; must be a string", at, short(m.value))
			}
			return nil
		}
		var err error
		identity := ""
		switch m.name {
		case "type", "x-unused":
		case "minimum":
			err = number(&p.Minimum)
		case "maximum":
			err = number(&p.Maximum)
		case "exclusiveMinimum":
			err = number(&p.Above)
		case "description":
			err = text(&p.Doc)
		case "x-unit":
			err = text(&p.Unit)
		case "x-identity":
			if err = text(&identity); err == nil && identity != "record" {
				err = fmt.Errorf("%s: %q; must be \"record\", or absent", at, identity)
			}
			p.Record = true
		case "enum":
			if err = json.Unmarshal(m.value, &p.Enum); err != nil || k != language.Name || len(p.Enum) == 0 {
				err = fmt.Errorf("%s: must be a list of strings, for a parameter of type \"string\"", at)
			}
		case "x-absent":
			if err = strict(m.value, &p.Absent); err != nil || k != language.Name {
				err = fmt.Errorf("%s: must be a map from names that are not in enum to the reason, for a parameter of type \"string\"", at)
			}
		case "default":
			def = m.value
		case "x-probe":
			tries = m.value
		default:
			if !strings.HasPrefix(m.name, "x-") {
				err = fmt.Errorf("%s: %q is not supported; a parameter has type, enum, minimum, maximum, exclusiveMinimum, default, description, x-unit, x-unused and x-identity", where, m.name)
			}
		}
		if err != nil {
			return err
		}
	}
	if def != nil {
		v, err := valueOf(&p, def)
		if err != nil {
			return fmt.Errorf("%s.default: %w", where, err)
		}
		p.Default = v
	}
	if tries != nil {
		var list []json.RawMessage
		if err := json.Unmarshal(tries, &list); err != nil {
			return fmt.Errorf("%s.x-probe: %s; must be a list of values", where, short(tries))
		}
		for _, raw := range list {
			v, err := valueOf(&p, raw)
			if err != nil {
				return fmt.Errorf("%s.x-probe: %w", where, err)
			}
			s.tries[path] = append(s.tries[path], v)
		}
	}
	s.out = append(s.out, p)
	return nil
}

// conditions reads a map of paths to lists of values or {"above": number}.
func conditions(raw json.RawMessage) ([]language.Condition, error) {
	list, err := members(raw)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("it is empty: name a parameter")
	}
	var out []language.Condition
	for _, m := range list {
		c := language.Condition{Path: m.name}
		var above struct {
			Above *float64 `json:"above"`
		}
		if strict(m.value, &above) == nil && above.Above != nil {
			c.Above = above.Above
		} else if err := json.Unmarshal(m.value, &c.Values); err != nil || len(c.Values) == 0 {
			return nil, fmt.Errorf("%s: %s; must be a list of values, or {\"above\": NUMBER}", m.name, short(m.value))
		}
		out = append(out, c)
	}
	return out, nil
}

// parseConditions reads the condition of an input.
func parseConditions(when map[string]json.RawMessage, params []language.Param) ([]language.Condition, error) {
	if len(when) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(when)
	if err != nil {
		return nil, err
	}
	out, err := conditions(raw)
	for _, c := range out {
		if param(params, c.Path) == nil {
			return nil, fmt.Errorf("%q is not a parameter", c.Path)
		}
	}
	return out, err
}

func param(params []language.Param, path string) *language.Param {
	for i := range params {
		if params[i].Path == path {
			return &params[i]
		}
	}
	return nil
}

// valueOf reads a value of a parameter.
func valueOf(p *language.Param, raw json.RawMessage) (any, error) {
	bad := func() (any, error) { return nil, fmt.Errorf("%s; must be %s", short(raw), p.Allowed()) }
	switch p.Kind {
	case language.Truth:
		var v bool
		if json.Unmarshal(raw, &v) != nil || string(raw) == "null" {
			return bad()
		}
		return v, nil
	case language.Name:
		var v string
		if json.Unmarshal(raw, &v) != nil || string(raw) == "null" || p.Enum != nil && !slices.Contains(p.Enum, v) {
			if why := p.Absent[v]; why != "" {
				return nil, fmt.Errorf("%s; must be %s: %s", short(raw), p.Allowed(), why)
			}
			return bad()
		}
		return v, nil
	}
	var x float64
	if json.Unmarshal(raw, &x) != nil || string(raw) == "null" || !p.Within(x) {
		return bad()
	}
	if p.Kind == language.Real {
		return x, nil
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, nil
	}
	if x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		return bad()
	}
	return int64(x), nil
}

// holds reports whether all conditions hold for values by path.
func holds(all []language.Condition, values map[string]any) bool {
	for _, c := range all {
		if v, ok := values[c.Path]; !ok || !c.Holds(v) {
			return false
		}
	}
	return true
}

// Complete returns all parameters of a task, by path, from those that are given, as nested
// JSON: with defaults, and without parameters that are unused. Unknown parameters, and
// values that are not allowed, are errors.
func (v *Verb) Complete(given json.RawMessage) (map[string]any, error) {
	values := map[string]any{}
	var read func(raw json.RawMessage, path string) error
	read = func(raw json.RawMessage, path string) error {
		list, err := members(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, m := range list {
			at := strings.TrimPrefix(path+"."+m.name, ".")
			if p := param(v.params, at); p != nil {
				if values[at], err = valueOf(p, m.value); err != nil {
					return fmt.Errorf("%s: %w", at, err)
				}
				continue
			}
			if !slices.ContainsFunc(v.params, func(p language.Param) bool { return strings.HasPrefix(p.Path, at+".") }) {
				return fmt.Errorf("%s: there is no such parameter", at)
			}
			if err := read(m.value, at); err != nil {
				return err
			}
		}
		return nil
	}
	if len(given) > 0 {
		if err := read(given, ""); err != nil {
			return nil, err
		}
	}
	for _, p := range v.params {
		if _, ok := values[p.Path]; !ok && p.Default != nil {
			values[p.Path] = p.Default
		}
	}
	unused := map[string]bool{}
	for _, p := range v.params {
		if p.Unused != nil && holds(p.Unused, values) {
			unused[p.Path] = true
		} else if values[p.Path] == nil {
			return nil, fmt.Errorf("%s: it has no default: give %s", p.Path, p.Allowed())
		}
	}
	for path := range unused {
		delete(values, path)
	}
	return values, nil
}

// nested returns values by dotted path as nested maps.
func nested(values map[string]any) map[string]any {
	out := map[string]any{}
	for path, v := range values {
		m := out
		for {
			head, rest, deeper := strings.Cut(path, ".")
			if !deeper {
				m[head] = v
				break
			}
			next, ok := m[head].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[head] = next
			}
			m, path = next, rest
		}
	}
	return out
}
