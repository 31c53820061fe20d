package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type config struct {
	Layers int    `json:"num_layers"`
	Class  string `json:"_class_name"`
}

func TestComponent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model", "transformer")
	want := config{3, "Transformer"}
	weights := map[string]Tensor{"w": Floats([]float32{1, 2, 3, 4}, 2, 2), "image": Bytes([]byte{1, 2}, 2)}
	for range 2 { // the second time over the first
		if err := WriteComponent(dir, "weights.safetensors", want, weights); err != nil {
			t.Fatal(err)
		}
	}
	var got config
	if err := ReadJSON(filepath.Join(dir, "config.json"), &got, true); err != nil || got != want {
		t.Errorf("the configuration is %+v, %v", got, err)
	}
	read, err := ReadFile(filepath.Join(dir, "weights.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(weights, read); diff != "" {
		t.Errorf("weights (-want +got)\n%s", diff)
	}
}

// Files have the permissions that the umask leaves, also those that replace another file.
func TestWriteRespectsUmask(t *testing.T) {
	dir := t.TempDir()
	for umask, want := range map[int]os.FileMode{0o077: 0o600, 0o022: 0o644, 0o002: 0o664} {
		old := syscall.Umask(umask)
		err := WriteComponent(dir, "weights.safetensors", config{}, nil)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"config.json", "weights.safetensors"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
				t.Errorf("umask %04o: %s has mode %v, want %v (%v)", umask, name, info.Mode(), want, err)
			}
		}
	}
}

// Files whose reading may never end, a pipe without a writer or a device, are refused. Opening
// them does not wait.
func TestReadRefusesSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	pipe, device := filepath.Join(dir, "pipe"), filepath.Join(dir, "device")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", device); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, device, dir} {
		_, weights := ReadFile(path)
		for _, err := range []error{weights, ReadJSON(path, new(config), true)} {
			if err == nil || !strings.Contains(err.Error(), path+" is not a regular file") {
				t.Errorf("%s: error %v, want one that it is not a regular file", path, err)
			}
		}
	}
}

// A write that fails leaves the old file, and no temporary one.
func TestWriteIsWholeOrAbsent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "w.safetensors")
	if err := WriteFile(path, map[string]Tensor{"w": Bytes([]byte("first"), 5)}); err != nil {
		t.Fatal(err)
	}
	err := WriteFile(path, map[string]Tensor{"a": Bytes(make([]byte, 1<<21), 1<<21), "w": {"U8", []int{3}, []byte("no")}})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `"w"`) {
		t.Errorf("error %v does not name the file and the tensor", err)
	}
	if err := WriteJSON(filepath.Join(dir, "x.json"), func() {}); err == nil {
		t.Error("a function was written as JSON")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the folder holds %v", entries)
	}
	got, err := ReadFile(path)
	if err != nil || string(got["w"].Data) != "first" {
		t.Errorf("the file holds %q, %v", got["w"].Data, err)
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for content, want := range map[string]string{
		`{"num_layers": "three"}`:       "num_layers",
		`{"num_layers": 3, "heads": 4}`: "heads",
		`{"num_layers": 3}{}`:           "unexpected data after",
		`{"num_layers": 3`:              "unexpected EOF",
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		var c config
		err := ReadJSON(path, &c, true)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with %q and the path", content, err, want)
		}
	}
}
