//go:build cgo

package backend

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The modes of the test binary as a child process of itself.
const (
	childMode   = "ABLATE_TEST_CHILD"
	childPlugin = "ABLATE_TEST_CHILD_PLUGIN"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childMode) {
	case "":
		os.Exit(m.Run())
	case "measure":
		err = measure()
	case "fetch":
		_, err = Fetch(context.Background(), nil)
	case "try":
		var device string
		device, err = Try(context.Background(), Choice{Name: CPU, Plugin: os.Getenv(childPlugin)})
		fmt.Println(device)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

// child runs this test binary as a child process, which a plugin may kill.
func child(t testing.TB, mode, plugin string, env ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), append(env, childMode+"="+mode, childPlugin+"="+plugin)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// needPlugin returns the plugin's path. It skips the test if the plugin was not fetched, or
// fails it where ABLATE_TEST_STRICT=1.
func needPlugin(t testing.TB) string {
	t.Helper()
	have, err := HavePlugin()
	if err != nil {
		t.Fatal(err)
	}
	path, _, err := PluginPath()
	if err != nil {
		t.Fatal(err)
	}
	if have {
		return path
	}
	const how = "needs the XLA plugin for the CPU: 'go run . doctor --fetch' fetches it"
	if os.Getenv("ABLATE_TEST_STRICT") == "1" {
		t.Fatal(how)
	}
	t.Skip(how)
	return ""
}
