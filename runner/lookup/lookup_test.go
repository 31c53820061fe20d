package lookup

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ablate/runner/internal/byhand"
	"ablate/runner/layout"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// fixture is a store with the artifacts of a pretraining and of the samples drawn from its
// model; the labels of the samples are missing.
type fixture struct {
	s                     *store.Store
	g                     *layout.Graph
	model, images, labels *layout.Action
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		model: byhand.Action("model", "", layout.Spec{Kind: stage.Pretrain, Params: stage.PretrainParams{}}),
	}
	f.images = byhand.Action("images", "", layout.Spec{Kind: stage.Draw, Params: stage.DrawParams{}}, layout.Input{Name: stage.ModelInput, Action: f.model})
	f.labels = byhand.Action("labels", "", layout.Spec{Kind: stage.Label, Params: stage.LabelParams{}}, layout.Input{Name: stage.ImagesInput, Action: f.images})
	f.g = layout.Of(f.model, f.images, f.labels)
	var err error
	if f.s, err = store.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	outputs := map[*layout.Action]store.OutputID{}
	for _, a := range f.g.Actions[:2] {
		w, err := f.s.Begin(a.Key("xla:cpu", func(in *layout.Action) store.OutputID { return outputs[in] }))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"curves.json", "weights"} {
			if err := os.WriteFile(filepath.Join(w.Dir(), name), []byte(a.Name.String()+" "+name), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		e, err := w.Commit(t.Context(), store.Commit{Made: "here"})
		if err != nil {
			t.Fatal(err)
		}
		outputs[a] = e.Output
	}
	return f
}

func (f *fixture) collect(t *testing.T, backend string) *Found {
	t.Helper()
	// A new process has not compared any bytes yet.
	s, err := store.Open(f.s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	f.s = s
	found, err := Collect(f.g, s, backend, nil)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// flip changes a byte of a file, which keeps its size.
func flip(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestCollect: artifacts are found for the class of backend that computed them. The next
// action is one whose inputs exist.
func TestCollect(t *testing.T) {
	f := newFixture(t)
	found := f.collect(t, "xla:cpu")
	out, _ := found.Get(f.images)
	if found.Len() != 2 || len(found.Damaged) != 0 || out.Made != "here" {
		t.Errorf("found %+v", found)
	}
	if dir, ok := found.Dir(f.images); !ok || dir != f.s.Path(out.ID) {
		t.Errorf("the folder of the samples is %q", dir)
	}
	for _, a := range []*layout.Action{f.labels, nil} {
		if dir, ok := found.Dir(a); ok {
			t.Errorf("%v has the folder %s", a, dir)
		}
	}
	id, ok := found.Next(f.labels, "xla:cpu")
	if want := f.labels.Key("", func(*layout.Action) store.OutputID { return out.ID }).ID(); !ok || id != want {
		t.Errorf("next is %s, %v, want %s", id, ok, want)
	}
	if _, ok := found.Next(f.images, "xla:cpu"); ok {
		t.Error("what is there is next")
	}
	if other := f.collect(t, "xla:cuda"); other.Len() != 0 {
		t.Errorf("on another backend: %+v", other.Outputs)
	} else if _, ok := other.Next(f.images, "xla:cuda"); ok {
		t.Error("what waits for its input is next")
	}
}

// TestCheck: only the files from which tables are made are compared with their digests.
// The actions that read other files compare those.
func TestCheck(t *testing.T) {
	f := newFixture(t)
	found := f.collect(t, "xla:cpu")
	model, images := f.s.Path(found.ID(f.model)), f.s.Path(found.ID(f.images))
	flip(t, images, "curves.json") // tables are not made from files of samples
	flip(t, model, "weights")
	if err := found.Check(t.Context(), f.g, f.s); err != nil || len(found.Damaged) != 0 {
		t.Errorf("error %v, damaged %v", err, found.Damaged)
	}
	if dir, err := found.Verified(t.Context(), f.s, f.model); err != nil || dir != "" {
		t.Errorf("damaged weights are in %q, %v", dir, err)
	}

	f = newFixture(t)
	found = f.collect(t, "xla:cpu")
	if dir, err := found.Verified(t.Context(), f.s, f.model); err != nil || dir == "" {
		t.Errorf("whole weights: %q, %v", dir, err)
	}
	found = f.collect(t, "xla:cpu")
	flip(t, f.s.Path(found.ID(f.model)), "curves.json")
	for range 2 { // the second time it is known already
		if err := found.Check(t.Context(), f.g, f.s); err != nil || len(found.Damaged) != 1 || found.Damaged[0].Action != f.model {
			t.Errorf("error %v, damaged %v", err, found.Damaged)
		}
	}
	if _, ok := found.Dir(f.model); ok || !found.Unreadable(f.model) || found.Unreadable(f.images) {
		t.Error("what is damaged has a folder, or what is whole has none")
	}
	// The artifact that was computed from it is found nevertheless.
	if _, ok := found.Dir(f.images); !ok {
		t.Error("the samples are lost with the model")
	}
}

// TestLostFile: an artifact without one of its files is damaged, and what was computed
// from it is found.
func TestLostFile(t *testing.T) {
	f := newFixture(t)
	dir := f.s.Path(f.collect(t, "xla:cpu").ID(f.model))
	if err := os.Remove(filepath.Join(dir, "weights")); err != nil {
		t.Fatal(err)
	}
	found := f.collect(t, "xla:cpu")
	if len(found.Damaged) != 1 || found.Damaged[0].Action != f.model || found.Len() != 2 {
		t.Errorf("found %+v", found)
	}
}

// TestSnapshot: what a snapshot has is not read again while its files look the same, and
// everything else is.
func TestSnapshot(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	found := f.collect(t, "xla:cpu")
	if err := found.Check(t.Context(), f.g, f.s); err != nil {
		t.Fatal(err)
	}
	if err := found.WriteSnapshot(dir, "xla:cpu"); err != nil {
		t.Fatal(err)
	}
	again := func() *Found {
		t.Helper()
		var err error
		if f.s, err = store.Open(f.s.Dir()); err != nil { // a later process
			t.Fatal(err)
		}
		before := ReadSnapshot(dir, "xla:cpu")
		if before == nil || len(before.list) != 2 {
			t.Fatalf("the snapshot has %+v", before)
		}
		found, err := Collect(f.g, f.s, "xla:cpu", before)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	known := func(found *Found) (n int) {
		for _, k := range found.known {
			if k != nil && !k.changed {
				n++
			}
		}
		return n
	}
	now := again()
	if err := now.Check(t.Context(), f.g, f.s); err != nil {
		t.Fatal(err)
	}
	if known(now) != 2 || now.Len() != 2 || now.ID(f.model) != found.ID(f.model) || now.ID(f.images) != found.ID(f.images) || len(now.Damaged) != 0 {
		t.Errorf("%d are known, %d found, damaged %v", known(now), now.Len(), now.Damaged)
	}
	if out, _ := now.Get(f.images); out.Made != "here" || out.Action == (store.ActionID{}) {
		t.Errorf("the images are %+v", out)
	}
	// A changed byte of a file that tables are made from.
	flip(t, f.s.Path(found.ID(f.model)), "curves.json")
	now = again()
	if err := now.Check(t.Context(), f.g, f.s); err != nil || len(now.Damaged) != 1 || now.Damaged[0].Action != f.model {
		t.Errorf("damaged are %v, %v", now.Damaged, err)
	}
	if _, ok := now.Dir(f.model); ok {
		t.Error("what is damaged has a folder")
	}
	// Check has moved the model away, so that it is no longer there.
	if now = again(); known(now) != 0 || now.Len() != 2 || len(now.Damaged) != 1 {
		t.Errorf("%d are known, %d found, damaged %v", known(now), now.Len(), now.Damaged)
	}
	for _, change := range []func(data []byte) []byte{
		func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		func(data []byte) []byte { return data[:len(data)-1] },
		func([]byte) []byte { return nil },
	} {
		data, err := os.ReadFile(snapshotFile(dir, "xla:cpu"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseSnapshot(change(data)); err == nil {
			t.Error("a damaged snapshot is read")
		}
	}
}

// TestGlance: a glance finds what an earlier command found, and looks at a result only if the
// folder that lists it has changed since.
func TestGlance(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	time.Sleep(2100 * time.Millisecond) // what was changed just now may change again without a trace
	found := f.collect(t, "xla:cpu")
	if err := found.WriteSnapshot(dir, "xla:cpu"); err != nil {
		t.Fatal(err)
	}
	files := f.s.Path(found.ID(f.images))
	read := func(glance bool) *Found {
		t.Helper()
		before := ReadSnapshot(dir, "xla:cpu")
		if glance {
			before.Glance()
		}
		found, err := Collect(f.g, f.s, "xla:cpu", before)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := read(true); found.Len() != 2 {
		t.Errorf("a glance finds %d results, want 2", found.Len())
	}
	// The artifact of the images loses its files: only a look inside of it tells.
	if err := os.Rename(files, files+" away"); err != nil {
		t.Fatal(err)
	}
	if glance, look := read(true), read(false); len(glance.Damaged) != 0 || len(look.Damaged) != 1 {
		t.Errorf("damaged are %v at a glance and %v at a look", glance.Damaged, look.Damaged)
	}
	if err := os.Rename(files+" away", files); err != nil {
		t.Fatal(err)
	}
	// The whole artifact goes.
	if err := os.Rename(filepath.Dir(files), filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	if found := read(true); len(found.Damaged) != 1 || found.Damaged[0].Action != f.images {
		t.Errorf("damaged are %v, want the images", found.Damaged)
	}
}

func FuzzParseSnapshot(f *testing.F) {
	x := &Snapshot{list: []sighting{{name: layout.Name{1}, Output: Output{Made: "here"}, seen: store.Seen{Paths: "a\x00"}}}}
	f.Add(x.encode()[len(snapshotFormat) : len(x.encode())-32])
	f.Fuzz(func(t *testing.T, body []byte) {
		data := append([]byte(snapshotFormat), body...)
		sum := sha256.Sum256(data)
		data = append(data, sum[:]...)
		if x, err := parseSnapshot(data); err == nil {
			if y, err := parseSnapshot(x.encode()); err != nil || len(x.list) != len(y.list) {
				t.Errorf("%d sightings came back as %v", len(x.list), err)
			}
		}
	})
}
