package stage

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ablate/models/finetune"
)

// The parameters of a stage are a struct. Each field has the path of a parameter of a
// trial. [Fill] reads the fields from a trial, and [Lines] writes them into the key of an
// action, so that one field is enough to pass a parameter to a stage:
//
//   - The path of a field is its JSON name, appended to the path of its struct. The tag
//     key:"seed.feedback" gives another name, and key:"/sampler" a complete path.
//   - lines:"json" makes a line of each value of a JSON object.
//   - key:"-" leaves a field out of the key. Such a field must not change the result.
//   - A fine-tuning method is written as its name; the paths of its constants begin with
//     the path of the struct that contains the method.
//   - A field with its absent value has no line. The absent value is the zero value, or
//     that of the tag absent:"64". So a later version can add a parameter without changing
//     existing keys, as long as the parameter has its absent value.

// Lines returns the canonical form of a stage's parameters: a sorted list of lines "path
// value". They are part of the key of an action, so that the key has every parameter that
// the stage computes from, and no other. Lines panics if a type has two fields with the
// same path, or a field of an unknown kind; TestLines checks all types of parameters.
func Lines(params any) []string {
	var lines []string
	visit("", reflect.ValueOf(params), func(path string, tag reflect.StructTag, x reflect.Value) {
		if x.Kind() == reflect.Interface {
			if m, ok := x.Interface().(finetune.Method); ok {
				lines = append(lines, path+" "+strconv.Quote(m.Name()))
				if r := m.Revision(); r != 0 {
					lines = append(lines, fmt.Sprintf("method revision %d", r))
				}
			}
			return
		}
		if tag.Get("lines") == "json" {
			lines = append(lines, jsonLines(path, x.String())...)
			return
		}
		value := text(path, x)
		absent, ok := tag.Lookup("absent")
		if !ok {
			absent = text(path, reflect.Zero(x.Type()))
		}
		if value != absent {
			lines = append(lines, path+" "+value)
		}
	})
	slices.Sort(lines)
	for i := 1; i < len(lines); i++ {
		a, _, _ := strings.Cut(lines[i-1], " ")
		if b, _, _ := strings.Cut(lines[i], " "); a == b {
			panic(fmt.Sprintf("%T: two parameters have the path %q", params, a))
		}
	}
	return lines
}

// jsonLines returns the lines of a JSON object of values by dotted path, the parameters of an
// engine. An object that is not valid is one line.
func jsonLines(path, object string) (lines []string) {
	if object == "" {
		return nil
	}
	var values map[string]json.RawMessage
	if json.Unmarshal([]byte(object), &values) != nil {
		return []string{path + " " + strconv.Quote(object)}
	}
	for name, v := range values {
		lines = append(lines, path+"."+name+" "+string(v))
	}
	return lines
}

// Fill sets the fields of the struct that params points to. value returns the value of a
// trial's parameter by path. A field whose parameter the trial does not have keeps its
// value.
func Fill(params any, value func(path string) (any, bool)) error {
	var failed error
	visit("", reflect.ValueOf(params).Elem(), func(path string, _ reflect.StructTag, x reflect.Value) {
		v, ok := value(path)
		if !ok {
			return
		}
		switch v := v.(type) {
		case int64:
			if x.CanInt() {
				x.SetInt(v)
				return
			}
		case float64:
			if x.CanFloat() {
				x.SetFloat(v)
				return
			}
		case string:
			switch x.Kind() {
			case reflect.String:
				x.SetString(v)
				return
			case reflect.Interface:
				m, err := finetune.ByName(v)
				if err != nil {
					failed = err
					return
				}
				own := reflect.New(reflect.TypeOf(m)).Elem()
				own.Set(reflect.ValueOf(m))
				x.Set(own)
				return
			}
		}
		failed = fmt.Errorf("parameter %s of a trial is %v, which a %s cannot hold", path, v, x.Type())
	})
	return failed
}

// visit calls f with every field that has a value, and then with the constants of a
// method. If f sets the method, visit calls f with the constants of the new method and
// sets the method to the result.
func visit(prefix string, v reflect.Value, f func(path string, tag reflect.StructTag, x reflect.Value)) {
	for _, l := range leavesOf(prefix, v.Type()) {
		x := v.FieldByIndex(l.index)
		f(l.path, l.tag, x)
		if x.Kind() != reflect.Interface || x.IsNil() {
			continue
		}
		own := reflect.New(x.Elem().Type()).Elem()
		own.Set(x.Elem())
		visit(l.path[:max(strings.LastIndex(l.path, "."), 0)], own, f)
		if x.CanSet() {
			x.Set(own)
		}
	}
}

// A leaf is a field with a value, of a struct or of a nested struct.
type leaf struct {
	path  string
	tag   reflect.StructTag
	index []int
}

// leaves caches the leaves by type and prefix, because a study of 10,000 trials visits
// the same few types 100,000 times.
var leaves sync.Map

type leavesKey struct {
	prefix string
	of     reflect.Type
}

func leavesOf(prefix string, t reflect.Type) []leaf {
	key := leavesKey{prefix, t}
	if have, ok := leaves.Load(key); ok {
		return have.([]leaf)
	}
	var list []leaf
	for i := range t.NumField() {
		field := t.Field(i)
		name, named := field.Tag.Lookup("key")
		if name == "-" {
			continue
		}
		if !named && !field.Anonymous {
			name, _, _ = strings.Cut(field.Tag.Get("json"), ",")
			if name == "" {
				name = strings.ToLower(field.Name)
			}
		}
		path := join(prefix, name)
		if field.Type.Kind() != reflect.Struct {
			list = append(list, leaf{path, field.Tag, field.Index})
			continue
		}
		for _, l := range leavesOf(path, field.Type) {
			list = append(list, leaf{l.path, l.tag, append(slices.Clone(field.Index), l.index...)})
		}
	}
	leaves.Store(key, list)
	return list
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

// text returns the text of a value. Different values of a type have different texts.
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
