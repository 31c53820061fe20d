package plan

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/failure"
	"ablate/runner/layout"
	"ablate/runner/stage"
	"ablate/runner/store"
)

func TestWords(t *testing.T) {
	for _, tc := range []struct {
		kind  string
		diffs []Difference
		want  string
	}{
		{"finetune", []Difference{{"reward", "lambda", "0", "0.5"}}, "reward.lambda changed from 0 to 0.5"},
		{"finetune", []Difference{{"finetune", "beta", "0.5", "1"}}, "finetune.beta changed from 0.5 to 1"},
		{"finetune", []Difference{{"", "seed.feedback", "1", "3"}, {"finetune", "beta", "0.5", "1"}}, "finetune.beta changed from 0.5 to 1"},
		{"finetune", []Difference{{"", "seed.feedback", "1", "3"}, {"", "seed.pretraining", "1", "3"}}, "new seeds"},
		{"reward", []Difference{{"reward", "lambda", "", "0.5"}, {"reward", "steps", "600", ""}}, "reward.lambda is set to 0.5, reward.steps is no longer 600"},
		{"prompts", []Difference{{"prompts of labelled", "rows", "1000", "500"}}, "feedback.labelled changed from 1000 to 500"},
		{"finetune", []Difference{{"finetune", "revision", "1", "2"}}, "the code of finetune changed from 1 to 2"},
		{"draw", []Difference{{"data", "pairs", "1", "2"}, {"finetune", "a", "1", "2"}, {"finetune", "b", "1", "2"}, {"finetune", "c", "1", "2"}},
			"data.pairs changed from 1 to 2, finetune.a changed from 1 to 2, finetune.b changed from 1 to 2, and 1 more"},
		{"score", []Difference{{"base reward", "lambda", "0.5", "0.7"}}, "reward.lambda of the base changed from 0.5 to 0.7"},
		{"finetune", []Difference{{"finetune", "method revision", "1", "2"}}, "the code of the method changed from 1 to 2"},
		{"finetune", nil, "its inputs have other bytes than before, or are no longer in the store"},
	} {
		if got := Words(tc.kind, tc.diffs); got != tc.want {
			t.Errorf("%s %v:\n got %s\nwant %s", tc.kind, tc.diffs, got, tc.want)
		}
	}
}

// TestOwn: each line of a key is one feature, even if it contains spaces.
func TestOwn(t *testing.T) {
	got := map[feature]string{}
	own(got, "finetune", []string{`finetune.method "crd"`, "finetune.beta 0.5", "method revision 2", `loss "a b"`, "seed.feedback -3"}, 1, "xla:cpu")
	want := map[feature]string{
		{"finetune", "method"}: `"crd"`, {"finetune", "beta"}: "0.5", {"finetune", "method revision"}: "2", {"finetune", "loss"}: `"a b"`,
		{"", "seed.feedback"}: "-3", {"finetune", "revision"}: "1", {"", "backend"}: "xla:cpu",
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(feature{})); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

// TestNearest: of two earlier rewards, the one with fewer differences is nearest.
// Differences in inputs count too.
func TestNearest(t *testing.T) {
	key := func(kind stage.Kind, lines []string, in ...store.Input) store.Entry {
		k := store.Key{Stage: string(kind), Revision: kind.Def().Revision, Lines: lines, Inputs: in, Backend: "xla:cpu"}
		return store.Entry{Action: k.ID(), Output: store.OutputID(k.ID()), Key: k.Text()}
	}
	samples := key(stage.Prompts, []string{`list "labelled"`, "rows 10", "seed.feedback 1"})
	near := key(stage.Reward, []string{"reward.lambda 0", "reward.loss \"mse\"", "seed.feedback 1"}, store.Input{Name: "labelled", Output: samples.Output})
	far := key(stage.Reward, []string{"reward.lambda 3", "reward.loss \"mse\"", "seed.feedback 2"})
	h := newHistory([]store.Entry{far, samples, near})
	a := &layout.Action{Kind: stage.Reward, Lines: []string{"reward.lambda 0.5", "reward.loss \"mse\"", "seed.feedback 1"},
		Inputs: []layout.Input{{Name: "labelled", Action: &layout.Action{Kind: stage.Prompts, Lines: []string{`list "labelled"`, "rows 20", "seed.feedback 1"}}}}}
	e, diffs := h.nearest(a, "xla:cpu")
	if e.Action != near.Action {
		t.Errorf("nearest is %s", e.Key)
	}
	want := []Difference{{"prompts of labelled", "rows", "10", "20"}, {"reward", "lambda", "0", "0.5"}}
	if d := cmp.Diff(want, diffs); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

// TestQuotedKey: the features of an earlier action are its lines, not their spelling in
// the text of its key. An entry whose key is of another version is left out.
func TestQuotedKey(t *testing.T) {
	line := "checkpoint a\tb"
	k := store.Key{Stage: "adopt", Revision: 1, Lines: []string{line}}
	other := store.Entry{Key: "ablate action 1\nstage adopt\n"}
	h := newHistory([]store.Entry{{Action: k.ID(), Key: k.Text()}, other})
	if n := len(h.byStage["adopt"]); n != 1 {
		t.Fatalf("%d entries, want 1", n)
	}
	if _, diffs := h.nearest(&layout.Action{Kind: stage.Adopt, Lines: []string{line}}, "xla:cpu"); len(diffs) != 0 {
		t.Errorf("the same action differs in %v", diffs)
	}
}

// TestBaseInputs: features of the proxy's inputs from the base trial are named after the
// base trial, and features of its other inputs are not.
func TestBaseInputs(t *testing.T) {
	act := func(kind stage.Kind, line string, in ...layout.Input) *layout.Action {
		return &layout.Action{Kind: kind, Lines: []string{line}, Inputs: in}
	}
	reward, tune := act(stage.Reward, "reward.lambda 0.5"), act(stage.Finetune, "finetune.beta 1")
	images := act(stage.Draw, "sampler.steps 5", layout.Input{Name: "tuned", Action: tune})
	proxy := act(stage.Score, "seed.feedback 1", layout.Input{Name: "images", Action: images}, layout.Input{Name: "base reward", Action: reward})
	f := newHistory(nil).ofPlanned(proxy, "xla:cpu")
	for want, value := range map[feature]string{{"base reward", "lambda"}: "0.5", {"finetune", "beta"}: "1", {"sampler", "steps"}: "5"} {
		if f[want] != value {
			t.Errorf("%v is %q, want %q", want, f[want], value)
		}
	}
	for _, wrong := range []feature{{"reward", "lambda"}, {"base finetune", "beta"}} {
		if v, ok := f[wrong]; ok {
			t.Errorf("%v is %q", wrong, v)
		}
	}
}

func TestPace(t *testing.T) {
	p := newPace([]store.Attempt{
		{Event: store.Event{Stage: "finetune", Cost: 10}, Seconds: 5, Outcome: store.OutcomeOK},
		{Event: store.Event{Stage: "finetune", Cost: 30}, Seconds: 15, Outcome: store.OutcomeOK},
		{Event: store.Event{Stage: "finetune", Cost: 10}, Seconds: 500, Outcome: store.OutcomeFailed},
	}, nil)
	if s, rough, _ := p.expect(&layout.Action{Kind: stage.Finetune, Cost: 4}); s != 2 || rough {
		t.Errorf("%v s, a guess %v; want 2 s", s, rough)
	}
	if s, rough, _ := p.expect(&layout.Action{Kind: stage.Reward, Cost: 4}); s != 4*(20.+60)/(40+60) || !rough {
		t.Errorf("%v s, a guess %v; want 3.2 s, guessed by the pace of the other stages", s, rough)
	}
	if s, rough, _ := newPace(nil, nil).expect(&layout.Action{Kind: stage.Reward, Cost: 4}); s != 4 || !rough {
		t.Errorf("%v s, a guess %v; want 4 s, guessed", s, rough)
	}
}

// TestLists: prompts of the assessment are compared only with such prompts, even if
// others are more similar.
func TestLists(t *testing.T) {
	k := store.Key{Stage: "prompts", Revision: stage.Prompts.Def().Revision, Lines: []string{`list "labelled"`, "rows 64", "seed.feedback 1"}}
	labelled := store.Entry{Action: k.ID(), Output: store.OutputID(k.ID()), Key: k.Text()}
	held := &layout.Action{Kind: stage.Prompts, Lines: []string{`list "assess"`, "rows 1024", "seed.feedback 1", "unseen true"}}
	p := &Plan{Backend: "xla:cpu", history: newHistory([]store.Entry{labelled}), Steps: []Step{{Action: held, State: Run}}}
	p.reasons()
	if got := p.Steps[0].Reason; got != FirstOfKind {
		t.Errorf("the reason is %q, want %q", got, FirstOfKind)
	}
}

// failures is a store with one study of three actions, of which the first failed.
func failures(t *testing.T, class failure.Class) (g *layout.Graph, s *store.Store, dir string) {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, err = s.ClaimStudy("s", t.TempDir(), "xla:cpu")
	if err != nil {
		t.Fatal(err)
	}
	tune := &layout.Action{Name: "a", Kind: stage.Finetune, Lines: []string{"finetune.clip 1e+30"}, Views: []string{"diverges@1"}}
	look := &layout.Action{Name: "b", Kind: stage.Draw, Views: []string{"diverges@1"}, Inputs: []layout.Input{{Name: "tuned", Action: tune}}}
	last := &layout.Action{Name: "c", Kind: stage.Judge, Views: []string{"diverges@1"}, Inputs: []layout.Input{{Name: "images", Action: look}}}
	j, err := s.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	id := tune.Key("xla:cpu", nil).ID()
	for _, e := range []store.Event{
		{Kind: store.Started, Time: time.Unix(1, 0), Action: id, Stage: "finetune"},
		{Kind: store.Failed, Time: time.Unix(2, 0), Action: id, Error: "loss is NaN at step 2"},
	} {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Fail(store.Failure{Action: id, Class: string(class), Error: "loss is NaN at step 2"}); err != nil {
		t.Fatal(err)
	}
	return &layout.Graph{Actions: []*layout.Action{tune, look, last}}, s, dir
}

// TestFailedInput: the reason of an action whose input failed is that failure.
func TestFailedInput(t *testing.T) {
	for class, want := range map[failure.Class][]string{
		failure.Lost: {"retry it failed (lost): loss is NaN at step 2", "run its input failed (finetune diverges@1)", "run its input failed (finetune diverges@1)"},
		failure.Diverged: {"failed it failed (diverged): loss is NaN at step 2; 'ablate retry' lets the next run try it again",
			"failed its input failed (finetune diverges@1)", "failed its input failed (finetune diverges@1)"},
	} {
		g, s, dir := failures(t, class)
		p, err := New(g, s, dir, "xla:cpu")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, step := range p.Steps {
			got = append(got, string(step.State)+" "+step.Reason)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("mismatch (-want +got):\n%s", d)
		}
		if total := Total(p.Stages()); class == failure.Diverged && (total.ToRun() != 0 || total.Failed != 3 || total.Seconds != 0) {
			t.Errorf("total %+v", total)
		}
	}
}

// TestPaceOfBackend: the time on a GPU is not used to estimate the time on a CPU.
func TestPaceOfBackend(t *testing.T) {
	g, s, dir := failures(t, failure.Lost)
	j, err := s.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range []struct {
		class   string
		seconds int64
	}{{"xla:cuda", 1}, {"xla:cpu", 10}} {
		k := store.Key{Stage: "draw", Lines: []string{fmt.Sprint("n ", i)}}
		for _, ev := range []store.Event{
			{Kind: store.Started, Time: time.Unix(0, 0).Add(time.Hour), Action: k.ID(), Stage: "draw", Cost: 1, Backend: e.class},
			{Kind: store.Finished, Time: time.Unix(e.seconds, 0).Add(time.Hour), Action: k.ID()},
		} {
			if err := j.Append(ev); err != nil {
				t.Fatal(err)
			}
		}
	}
	j.Close()
	for class, want := range map[string]float64{"xla:cuda": 1, "xla:cpu": 10} {
		p, err := New(g, s, dir, class)
		if err != nil {
			t.Fatal(err)
		}
		if got, rough, _ := p.pace.expect(&layout.Action{Kind: stage.Draw, Cost: 1}); got != want || rough {
			t.Errorf("%s: %v s, a guess %v; want %v s", class, got, rough, want)
		}
	}
	// One second of a stage, which took ten, says little of a thousand.
	estimate, any, err := Measured(dir, "xla:cpu")
	if err != nil || !any {
		t.Fatal(any, err)
	}
	overall := (10. + prior) / (1 + prior)
	if got, guess := estimate(&layout.Action{Kind: stage.Draw, Cost: 1000}); math.Abs(got-1000*(10+overall*stagePrior)/(1+stagePrior)) > 1e-6 || guess {
		t.Errorf("%v s, a guess %v", got, guess)
	}
}

// TestChanges: each change since a plan was saved is listed once, at the stage that has
// the parameter. Later stages are only counted.
func TestChanges(t *testing.T) {
	steps := func(labelled, clip string) (list []Step) {
		sample := &layout.Action{Name: "sample" + labelled, Kind: stage.Prompts, Lines: []string{`list "labelled"`, "rows " + labelled}}
		label := &layout.Action{Name: "label" + labelled, Kind: stage.Label}
		tune := &layout.Action{Name: "finetune" + labelled + clip, Kind: stage.Finetune, Lines: []string{"finetune.clip " + clip}}
		for _, a := range []*layout.Action{sample, label, tune} {
			list = append(list, Step{Action: a, State: Run})
		}
		return list
	}
	name := filepath.Join(t.TempDir(), "any.name")
	if err := (&Plan{Backend: "xla:cpu", Steps: steps("1000", "1")}).Save(name, "s", nil, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		now  *Plan
		want []string
	}{
		{&Plan{Backend: "xla:cpu", Steps: steps("1000", "1")}, nil},
		{&Plan{Backend: "xla:cpu", Steps: steps("500", "1")}, []string{"prompts: feedback.labelled changed from 1000 to 500", "and later stages, which read the results of these: 2 actions"}},
		{&Plan{Backend: "xla:cpu", Steps: steps("1000", "2")}, []string{"finetune: finetune.clip changed from 1 to 2"}},
		{&Plan{Backend: "xla:cuda", Steps: steps("1000", "1")[:2]}, []string{"finetune: actions of the plan that are no longer in the study: 1", "the backend was xla:cpu and is xla:cuda"}},
	} {
		if d := cmp.Diff(tc.want, f.Changes(tc.now)); d != "" {
			t.Errorf("mismatch (-want +got):\n%s", d)
		}
	}
}

// TestFile: a plan in a file gives the graph that it was made of.
func TestFile(t *testing.T) {
	g, _ := lay(t, "seeds: [1, 2]\narms: {all: set: {}, policy: set: finetune: method: \"grpo\", best: set: evaluate: bestOf: 2}")
	f, err := NewFile(g, "s", "s", "xla:cpu", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "run.json")
	if err := f.Write(name); err != nil {
		t.Fatal(err)
	}
	read, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read.Graph()
	if err != nil {
		t.Fatal(err)
	}
	type action struct {
		Name, View string
		Lines      []string
		Params     any
		Inputs     []string
		Turn       int
		Cost       float64
	}
	list := func(g *layout.Graph) (out []action) {
		for _, a := range g.Actions {
			x := action{Name: a.Name, View: a.Views[0], Lines: a.Lines, Params: a.Params, Turn: a.Turn, Cost: a.Cost}
			for _, in := range a.Inputs {
				x.Inputs = append(x.Inputs, in.Name+" "+in.Action.Name)
			}
			out = append(out, x)
		}
		return out
	}
	if want, got := list(g), list(got); !reflect.DeepEqual(want, got) {
		t.Errorf("graph %+v\nwant %+v", got, want)
	}
	// What this version would compute in another way is refused.
	for what, change := range map[string]func(a *FileAction){
		"has revision":        func(a *FileAction) { a.Revision++ },
		"cannot be read":      func(a *FileAction) { a.Params = []byte(`{"layers2": 3}`) },
		"has the name":        func(a *FileAction) { a.Action = "x" + a.Action[1:] },
		"is not a stage":      func(a *FileAction) { a.Stage, a.Revision = "dream", 0 },
		"which is not before": func(a *FileAction) { a.Inputs = []FileInput{{"model", len(f.Actions)}} },
	} {
		changed := *read
		changed.Actions = slices.Clone(read.Actions)
		change(&changed.Actions[3])
		if _, err := changed.Graph(); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "action 3") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":"ablate plan 2","study":"s","backend":"xla:cpu","actions":[{"stage":"pretrain","action":"a","state":"run","revision":1,"lines":["data.pairs 1"]},{"stage":"draw","action":"b"}]}`))
	f.Add([]byte(`{"format":"ablate plan 2","actions":[{"stage":"prompts","lines":["list \\""]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parse(data)
		if err != nil {
			return
		}
		p.Changes(&Plan{Backend: "xla:cpu"})
		_, _ = p.Graph()
	})
}
