package run

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ablate/models/backend"
	"ablate/runner/launch"
	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
)

// trainsOn2 is a need of two CPUs for trainings and of one for the others.
func trainsOn2(a *layout.Action) resource.Need {
	if a.Kind.Def().Trains {
		return resource.Need{CPUs: 2}
	}
	return resource.Need{CPUs: 1}
}

// TestNeeds: actions get what they need, no more than there is at a time, and more threads than
// one are recorded with the result of a stage that computes on the backend.
func TestNeeds(t *testing.T) {
	f := newFixture(t, "1, 2", twoArms)
	var mu sync.Mutex
	now, most := 0, 0
	f.w.before = func(task launch.Task) error {
		n := 1
		if stage.Kind(task.Stage).Def().Trains {
			n = 2
		}
		mu.Lock()
		now += n
		most = max(most, now)
		mu.Unlock()
		time.Sleep(2 * time.Millisecond)
		mu.Lock()
		now -= n
		mu.Unlock()
		return nil
	}
	out := f.run(Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 3}), Need: trainsOn2, Machine: Machine{Backend: backend.CPU}})
	if out.Ran != len(f.g.Actions) || most > 3 || most < 2 {
		t.Errorf("%d of %d ran, on %d CPUs at a time", out.Ran, len(f.g.Actions), most)
	}
	for kind, want := range map[stage.Kind]int{stage.Finetune: 2, stage.Judge: 1} {
		for _, g := range f.w.grants[string(kind)] {
			if g.CPUs != want {
				t.Errorf("%s had %+v", kind, g)
			}
		}
		e, err := f.s.Lookup(id(out, f.action(kind)))
		if err != nil || strings.HasSuffix(e.Made, "\nthreads 2\n") != (want == 2) {
			t.Errorf("%s was made by %q, %v", kind, e.Made, err)
		}
	}
	if rest, n := WithoutThreads("backend xla:cpu\nthreads 16\n"); rest != "backend xla:cpu\n" || n != "16" {
		t.Errorf("%q, %q", rest, n)
	}
	if rest, n := WithoutThreads("backend xla:cpu\n"); rest != "backend xla:cpu\n" || n != "1" {
		t.Errorf("%q, %q", rest, n)
	}
}

// TestRepairRoom: damaged inputs are computed again with what they need, though actions that
// read them have taken all CPUs: they give these back meanwhile.
func TestRepairRoom(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	whole := f.run(Options{})
	for _, a := range f.g.Actions {
		if a.Kind == stage.Distance {
			if err := os.RemoveAll(filepath.Dir(f.s.Path(whole.Outputs.ID(a)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(f.s.Path(whole.Outputs.ID(f.action(stage.Pretrain))), "out.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[0]++ // a look-up, which compares sizes, does not see that
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o666); err != nil {
		t.Fatal(err)
	}
	f.w.grants = nil
	out := f.run(Options{Room: resource.NewAllocator(resource.Capacity{CPUs: 2}), Need: trainsOn2})
	if len(out.Failures) > 0 || len(f.w.grants["pretrain"]) != 1 || f.w.grants["pretrain"][0].CPUs != 2 || !strings.Contains(f.log.String(), "damaged in the store; computing it again") {
		t.Errorf("%v, grants %v", out.Failures, f.w.grants)
	}
}

// TestUnfit: what can never run here is left to others, and the run ends after its idle time.
func TestUnfit(t *testing.T) {
	f := newFixture(t, "1", twoArms)
	out := f.run(Options{Need: trainsOn2, Idle: 200 * time.Millisecond})
	if out.Ran == 0 || out.Left == 0 || out.Stopped != "--idle" || len(out.Failures) > 0 {
		t.Errorf("%+v", out)
	}
	for kind := range f.w.grants {
		if stage.Kind(kind).Def().Trains {
			t.Errorf("%s ran", kind)
		}
	}
}
