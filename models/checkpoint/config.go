package checkpoint

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// ReadConfig reads a component's config.json into v, a pointer to a struct that has the defaults:
// a key that is missing or null has its default. only are keys that choose another architecture,
// with the values that are implemented, separated by bars. A key that is neither a field of v nor
// in only must be false, and one that begins with an underscore is not read: they say nothing of
// the network. v's Check then says whether a network has this configuration. An error names the
// file, the key and its value.
func ReadConfig(path string, v interface{ Check() error }, only map[string]string) error {
	data, err := readRegular(path)
	if err != nil {
		return err
	}
	if err = parseConfig(data, v, only); err == nil {
		err = v.Check()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func parseConfig(data []byte, v any, only map[string]string) error {
	raw, err := object[json.RawMessage](data)
	if err != nil {
		return err
	}
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v).Elem()) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, key)
	}
	for key, value := range raw {
		allowed, listed := only[key]
		switch text := string(value); {
		case text == "null":
			delete(raw, key)
		case listed && !slices.Contains(strings.Split(allowed, "|"), strings.TrimSuffix(text, ".0")):
			return fmt.Errorf("%s is %s; must be %s: use an engine that has the other form", key, text, strings.ReplaceAll(allowed, "|", " or "))
		case listed, slices.Contains(fields, key), strings.HasPrefix(key, "_"), text == "false":
		default:
			return fmt.Errorf("%s is %s, and this network has no such part: use an engine that has it", key, text)
		}
	}
	rest, err := json.Marshal(raw)
	if err != nil {
		return err
	}
	return json.Unmarshal(rest, v)
}
