package project

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ablate/experiments/language"
	"ablate/runner/device"
	"ablate/runner/internal/example"
	"ablate/runner/store"
)

const body = "seeds: [1]\narms: {plain: set: {}, ones: set: reward: loss: \"none\"}"

// opened is a project of the example study, laid out.
func opened(t *testing.T) Project {
	t.Helper()
	s := example.Study(t, body)
	p, err := Open(s, []string{"finetune.beta=0.1", "finetune.method=\"a b\""}, "")
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.LayOut(t.Context(), s.Views); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOpen: the store lies beside cue.mod unless another folder is named, and opening
// makes nothing.
func TestOpen(t *testing.T) {
	p := opened(t)
	if want := filepath.Join(p.Study.Root, ".ablate"); p.Store.Dir() != want || p.Dir != filepath.Join(want, "studies", "mine") {
		t.Errorf("store %s, results %s, want both in %s", p.Store.Dir(), p.Dir, want)
	}
	if _, err := os.Stat(p.Store.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening made the store: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if p, err := Open(p.Study, nil, other); err != nil || p.Store.Dir() != other {
		t.Errorf("store %v, %v, want %s", p.Store.Dir(), err, other)
	}
	if got, want := p.Command(), `ablate run mine --set finetune.beta=0.1 --set 'finetune.method="a b"'`; got != want {
		t.Errorf("command %s, want %s", got, want)
	}
}

// TestLayOut: laying out a part leaves the project that it is a part of as it was.
func TestLayOut(t *testing.T) {
	p := opened(t)
	part, err := p.LayOut(t.Context(), p.Study.Views[:1])
	if err != nil {
		t.Fatal(err)
	}
	if len(part.Graph.Chains) != 1 || len(p.Graph.Chains) != 2 {
		t.Errorf("%d trials in the part, %d in the whole", len(part.Graph.Chains), len(p.Graph.Chains))
	}
}

// TestClaim: a run notes its class of backend, which the next command reads.
func TestClaim(t *testing.T) {
	p := opened(t)
	claimed, err := p.Claim(device.Go)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(p.Study, nil, "")
	if err != nil || again.Dir != claimed.Dir || again.Record.Backend != device.Go {
		t.Errorf("opened again: %s with %+v, %v", again.Dir, again.Record, err)
	}
}

// TestFolderName: a study at the root of its module is not taken for one in a folder
// with the name of the module's folder.
func TestFolderName(t *testing.T) {
	root, inside := folderName(&language.Study{Name: "mine", Path: "."}), folderName(&language.Study{Name: "mine", Path: "mine"})
	if root == inside {
		t.Errorf("both are %s", root)
	}
}

// TestClass: what is asked for comes first, then the last run, then the class that has
// most results in the store.
func TestClass(t *testing.T) {
	p := opened(t)
	t.Setenv("ABLATE_BACKEND", device.Go)
	class := func(p Project, asked, want string) {
		t.Helper()
		if got, err := p.Class(asked); err != nil || got != want {
			t.Errorf("asked %q: %s, %v; want %s", asked, got, err, want)
		}
	}
	class(p, "", device.Go) // nothing in the store
	first := p.Graph.Actions[0]
	w, err := p.Store.Begin(first.Key(device.CUDA, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.Dir(), "x"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context(), store.Commit{}); err != nil {
		t.Fatal(err)
	}
	class(p, "", device.CUDA)
	p.Record.Backend = device.CPU
	class(p, "", device.CPU)
	class(p, device.Go, device.Go)
}

// TestRunBackend: a run uses the backend of the study's results, and never changes to
// another one unless it is asked to.
func TestRunBackend(t *testing.T) {
	for _, c := range []struct{ had, asked, named, want string }{
		{"", "", device.Auto, device.Auto}, {"", "", device.CPU, device.CPU}, {"", device.Go, device.CPU, device.Go},
		{device.CUDA, "", device.Auto, device.CUDA}, {device.CUDA, "", device.CUDA, device.CUDA}, {device.CUDA, device.CPU, device.CUDA, device.CPU},
		{device.CUDA, "", device.CPU, ""},
	} {
		p := Project{Study: &language.Study{Name: "mine"}, Record: store.Study{Backend: c.had}}
		got, err := p.RunBackend(c.asked, c.named)
		if got != c.want || errors.As(err, new(*ConflictError)) != (c.want == "") {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

// TestUnavailable: the advice to run elsewhere is given only if the study has results of
// the backend that fails.
func TestUnavailable(t *testing.T) {
	cause := errors.New("no GPU")
	p := Project{Study: &language.Study{Name: "mine"}, Record: store.Study{Backend: device.CUDA}}
	if err := p.Unavailable(device.CUDA, cause); !errors.Is(err, cause) || !strings.Contains(err.Error(), "--backend xla:cpu") {
		t.Errorf("with results: %v", err)
	}
	p.Record.Backend = ""
	if err := p.Unavailable(device.CUDA, cause); err != cause {
		t.Errorf("without: %v", err)
	}
}

// TestEmbedders: a checkpoint needs an embedder if a reward learns from it.
func TestEmbedders(t *testing.T) {
	for loss, want := range map[string]bool{"mse": true, "oracle": false} {
		s := example.Study(t, "seeds: [1]\nbase: {model: checkpoint: path: \"adopted\", reward: loss: \""+loss+"\"}\narms: plain: set: {}")
		if got := Embedders(s)[filepath.Join(s.Dir, "adopted")]; got != want {
			t.Errorf("reward.loss %q: %v", loss, got)
		}
	}
}
