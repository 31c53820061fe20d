package imported

import (
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"ablate/runner/rows"
)

// mostConfig is the largest size in bytes of a file that is read as a whole.
const mostConfig = 16 << 20

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > mostConfig {
		return nil, &rows.Wrong{What: fmt.Sprintf("it has %d bytes", info.Size()), Allowed: "at most 16 MiB", Do: "check what it is"}
	}
	return os.ReadFile(path)
}

func readYAML(path string) (*yaml.Node, error) {
	b, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		return nil, &rows.Wrong{What: err.Error(), Allowed: "YAML as Hydra writes it", Do: "check what it is"}
	}
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		return n.Content[0], nil
	}
	return &n, nil
}

// sequence returns the texts of a list.
func sequence(n *yaml.Node) []string {
	var out []string
	if n.Kind == yaml.SequenceNode {
		for _, x := range n.Content {
			out = append(out, x.Value)
		}
	}
	return out
}

// flatten joins the keys of nested maps by points. It leaves out lists, and aliases,
// which Hydra does not write.
func flatten(n *yaml.Node) map[string]string {
	out := map[string]string{}
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i].Value
				if path != "" {
					key = path + "." + key
				}
				walk(n.Content[i+1], key)
			}
		case yaml.ScalarNode:
			if n.Tag != "!!null" {
				out[path] = n.Value
			}
		}
	}
	walk(n, "")
	return out
}

// override parses an override of Hydra's command line: key=value, +key=value for a new
// key, ~key for a removed one. A package, as in group@package=option, is part of the key.
func override(s string) (key, value string) {
	key, value, ok := strings.Cut(strings.TrimLeft(s, "+~"), "=")
	if strings.HasPrefix(s, "~") || !ok {
		value = "null"
	}
	if n := len(value); n >= 2 && (value[0] == '\'' || value[0] == '"') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return strings.ReplaceAll(key, "@", "."), value
}
