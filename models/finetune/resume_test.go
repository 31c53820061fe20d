package finetune

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/models/checkpoint"
	"ablate/models/lora"
	"ablate/models/pipeline"
	"ablate/models/train"
)

// resumable returns fine-tunings by every method whose states have every kind of content:
// moving copies, unfinished rollouts and gradients, low-rank updates, an EMA, probes.
func resumable(net pipeline.Network) map[string]Job {
	jobs := map[string]Job{}
	for name, m := range constants() {
		j := job(net, m)
		j.Steps, j.LearningRate, j.EMA, j.Beta, j.PairsPerStep = 6, 1e-2, .9, .5, 2
		if DrawsItself(m) {
			// A rollout has four batches, which two updates share.
			j.Batch, j.Roll.Images, j.PairsPerStep = 6, 8, 0
			j.Anchor = drawnAnchor(name)
		} else {
			j.Rounds, j.Anchor, j.Prediction = 3, AnchorPrediction, .1
		}
		jobs[name] = j
	}
	both := jobs["kto"]
	both.Trains = pipeline.BothParts
	both.LoRA = lora.Config{Rank: 2, Targets: "all"}
	jobs["kto with its text encoder, low-rank"] = both
	return jobs
}

var errKilled = errors.New("killed")

// TestResume: a training that is killed after any saved step and resumed ends with the bytes
// of an uninterrupted one, its curve and probes included.
func TestResume(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	for name, j := range resumable(net) {
		type probes struct{ Steps []int }
		run := func(file string, save, kill int) (*Tuned, []int, error) {
			var seen probes
			j := j
			j.Checkpoints, j.Host = j.Steps, []any{&seen}
			j.Checkpoint = func(step int, _ *Tuned) error {
				seen.Steps = append(seen.Steps, step)
				if step == kill {
					return errKilled
				}
				return nil
			}
			if file != "" {
				j.Resume = train.Resume{File: file, Due: func(steps int) bool { return steps == save }}
			}
			got, err := Run(t.Context(), tl, m, j)
			return got, seen.Steps, err
		}
		want, steps, err := run("", 0, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		for k := 1; k < j.Steps; k++ {
			file := filepath.Join(t.TempDir(), "state.safetensors")
			if _, _, err := run(file, k, k+1); !errors.Is(err, errKilled) {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := os.Stat(file); err != nil {
				t.Fatalf("%s: nothing was saved after step %d: %v", name, k, err)
			}
			got, seen, err := run(file, 0, 0)
			if err != nil {
				t.Fatal(name, err)
			}
			if d := distance(want.Weights, got.Weights); d != 0 || len(got.Weights) != len(want.Weights) {
				t.Errorf("%s, stopped after step %d: its weights differ by %v", name, k, d)
			}
			if d := cmp.Diff(want.Curve, got.Curve); d != "" || !slices.Equal(seen, steps) {
				t.Errorf("%s, stopped after step %d: probes %v and curve (-want +got)\n%s", name, k, seen, d)
			}
		}
	}
}

// TestResumeRefuses: a file that is not a state of this training is an error that names it.
func TestResumeRefuses(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	file := filepath.Join(t.TempDir(), "state.safetensors")
	j := job(net, dpo{Beta: 5})
	j.Resume = train.Resume{File: file, Due: func(steps int) bool { return steps == 2 }}
	run(t, tl, m, j)
	state, err := checkpoint.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := job(net, ddpo{Clip: .2, Updates: 1})
	other.Resume, other.Batch = j.Resume, 12
	short, kin := j, job(net, kto{Beta: 5})
	short.Steps, kin.Resume = 1, j.Resume
	for name, c := range map[string]struct {
		j    Job
		file map[string]checkpoint.Tensor
	}{
		"of another method": {other, state}, "beyond the last step": {short, state}, "of a kindred method": {kin, state},
		"with a flipped bit": {j, flipped(state)}, "without a part": {j, without(state, "host")}, "without weights": {j, without(state, "first.out.weight")}, "empty": {j, nil},
	} {
		if err := checkpoint.WriteFile(file, c.file); err != nil {
			t.Fatal(err)
		}
		if name == "empty" {
			if err := os.WriteFile(file, nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Run(t.Context(), tl, m, c.j); err == nil || !errors.Is(err, train.ErrState) {
			t.Errorf("a state %s is taken: %v", name, err)
		}
		// One that discards it begins again.
		c.j.Resume.Discard = func(err error) {
			if !errors.Is(err, train.ErrState) {
				t.Errorf("%s: discarded for %v", name, err)
			}
		}
		fresh := c.j
		fresh.Resume = train.Resume{}
		if d := distance(run(t, tl, m, fresh), run(t, tl, m, c.j)); d != 0 {
			t.Errorf("%s: discarded, it ends %v from a training that began without it", name, d)
		}
	}
}

func flipped(state map[string]checkpoint.Tensor) map[string]checkpoint.Tensor {
	out := maps.Clone(state)
	x := out["params.out.weight"]
	x.Data = slices.Clone(x.Data)
	x.Data[0] ^= 1
	out["params.out.weight"] = x
	return out
}

func without(state map[string]checkpoint.Tensor, name string) map[string]checkpoint.Tensor {
	out := maps.Clone(state)
	delete(out, name)
	return out
}

// TestResumeInAnotherProcess does the same as TestResume with processes that are killed.
func TestResumeInAnotherProcess(t *testing.T) {
	net := tiny()
	j := resumable(net)["reward-weighted"]
	j.Anchor = AnchorNone
	dir := os.Getenv("ABLATE_TEST_RESUME")
	if dir == "" {
		dir = t.TempDir()
		j.Resume = train.Resume{File: filepath.Join(dir, "none"), Due: func(int) bool { return false }}
		want := run(t, tools(t, net), model(net), j)
		kills := 0
		for done := false; !done; { // each process saves a step or two more
			cmd := exec.Command(os.Args[0], "-test.run=^TestResumeInAnotherProcess$")
			cmd.Env = append(os.Environ(), "ABLATE_TEST_RESUME="+dir)
			out, err := cmd.CombinedOutput()
			if killed := err != nil && cmd.ProcessState.ExitCode() == -1; killed {
				kills++
			} else if done = err == nil; !done || kills < 2 {
				t.Fatalf("after %d that were killed: %v\n%s", kills, err, out)
			}
			if kills > 10 {
				t.Fatal("no process goes on from the one before")
			}
		}
		got, err := checkpoint.ReadFile(filepath.Join(dir, "weights"))
		if err != nil {
			t.Fatal(err)
		}
		for name, x := range want {
			if y, err := got[name].Float32(); err != nil || !slices.Equal(x, y) {
				t.Errorf("%s differs, %v", name, err)
			}
		}
		return
	}
	// The child: it saves after every step, and is killed at the third, counted from where
	// it began.
	steps := 0
	j.Resume = train.Resume{File: filepath.Join(dir, "state"), Due: func(int) bool {
		if steps++; steps == 3 {
			p, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = p.Kill()
			}
			if err != nil {
				t.Fatal(err)
			}
			select {} // until the signal arrives
		}
		return true
	}}
	w := map[string]checkpoint.Tensor{}
	for name, x := range run(t, tools(t, net), model(net), j) {
		w[name] = checkpoint.Floats(x, len(x))
	}
	if err := checkpoint.WriteFile(filepath.Join(dir, "weights"), w); err != nil {
		t.Fatal(err)
	}
}

// TestSegments: a training in segments, each of which goes on with the state at the end of the
// one before, ends with the bytes of a training in one piece. A segment that is killed goes
// on from its own state, and ends with the same state.
func TestSegments(t *testing.T) {
	net := tiny()
	tl, m := tools(t, net), model(net)
	for name, j := range resumable(net) {
		whole, err := Run(t.Context(), tl, m, j)
		if err != nil {
			t.Fatal(name, err)
		}
		dir := t.TempDir()
		file := func(name string, step int) string { return filepath.Join(dir, fmt.Sprint(name, step)) }
		from := 0
		var last *Tuned
		for _, until := range []int{1, 3, 5, 0} {
			part := j
			part.Segment = train.Segment{Until: until}
			if from > 0 {
				part.Segment.From = file("state", from)
			}
			if until > 0 {
				part.Segment.To = file("state", until)
			}
			if last, err = Run(t.Context(), tl, m, part); err != nil {
				t.Fatalf("%s, from %d to %d: %v", name, from, until, err)
			}
			if until > from+1 { // again, killed after its first step
				part.Segment.To = file("again", until)
				part.Resume = train.Resume{File: file("resume", until), Due: func(n int) bool { return n == from+1 }}
				part.Checkpoints, part.Checkpoint = part.Steps, func(step int, _ *Tuned) error {
					if step == from+2 {
						return errKilled
					}
					return nil
				}
				if _, err := Run(t.Context(), tl, m, part); !errors.Is(err, errKilled) {
					t.Fatalf("%s: %v", name, err)
				}
				part.Checkpoint, part.Resume.Due = nil, nil
				resumed := 0
				part.Resume.Resumed = func(n int) { resumed = n }
				if _, err := Run(t.Context(), tl, m, part); err != nil || resumed != from+1 {
					t.Fatalf("%s: resumed at %d, %v", name, resumed, err)
				}
				a, errA := os.ReadFile(file("state", until))
				b, errB := os.ReadFile(file("again", until))
				if errA != nil || errB != nil || !bytes.Equal(a, b) {
					t.Errorf("%s: the state after step %d differs if the segment was killed; %v, %v", name, until, errA, errB)
				}
			}
			from = until
		}
		if d := distance(whole.Weights, last.Weights); d != 0 || len(last.Weights) != len(whole.Weights) {
			t.Errorf("%s: in segments, its weights differ by %v", name, d)
		}
		if d := cmp.Diff(whole.Curve, last.Curve); d != "" {
			t.Errorf("%s: curve (-whole +segments)\n%s", name, d)
		}
	}
}
