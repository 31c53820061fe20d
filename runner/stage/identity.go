package stage

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Lines are the canonical form of a stage's parameters: one line "path value"
// for each, sorted. They are what the key of an action has of it, so whatever a
// stage computes from is in its key, and nothing else is. They are derived from
// the parameters alone and by rule:
//
//   - A field's path is its JSON name, below that of the struct it is in. The tag
//     key:"seed.feedback" gives another name, key:"/sampler" one from the top.
//     Names follow the trial's own paths, which is what people read.
//   - key:"-" leaves a field out: it must not change what is computed.
//   - A field at its absent value has no line. That is the zero value, or the one
//     of the tag absent:"64". So a parameter added later changes no key of what
//     ran before it was there, as long as it has its absent value.
//
// It panics where a type has a kind of field that it does not know, or two
// fields of one path: TestLines walks every type of parameters.
func Lines(params any) []string {
	var lines []string
	walk("", reflect.ValueOf(params), func(path, value string) { lines = append(lines, path+" "+value) })
	slices.Sort(lines)
	for i := 1; i < len(lines); i++ {
		a, _, _ := strings.Cut(lines[i-1], " ")
		if b, _, _ := strings.Cut(lines[i], " "); a == b {
			panic(fmt.Sprintf("%T: two parameters have the path %q", params, a))
		}
	}
	return lines
}

func walk(prefix string, v reflect.Value, line func(path, value string)) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name, named := f.Tag.Lookup("key")
		if name == "-" {
			continue
		}
		if !named && !f.Anonymous {
			name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = strings.ToLower(f.Name)
			}
		}
		path := join(prefix, name)
		x := v.Field(i)
		if x.Kind() == reflect.Struct {
			walk(path, x, line)
			continue
		}
		value := text(path, x)
		absent, ok := f.Tag.Lookup("absent")
		if !ok {
			absent = text(path, reflect.Zero(f.Type))
		}
		if value != absent {
			line(path, value)
		}
	}
}

func join(prefix, name string) string {
	switch {
	case strings.HasPrefix(name, "/"):
		return name[1:]
	case prefix == "" || name == "":
		return prefix + name
	}
	return prefix + "." + name
}

// text spells a value so that no two values of a type are spelled alike.
func text(path string, v reflect.Value) string {
	switch v.Kind() {
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	panic(fmt.Sprintf("parameter %s: a key cannot hold a %s", path, v.Type()))
}
