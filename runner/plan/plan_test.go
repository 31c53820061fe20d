package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/models/finetune"
	"ablate/models/sampler"
	"ablate/runner/failure"
	"ablate/runner/internal/byhand"
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
	prompts := byhand.Action("prompts", "", layout.Spec{Kind: stage.Prompts, Params: stage.PromptsParams{List: "labelled", Rows: 20, Seed: 1}})
	a := byhand.Action("reward", "", layout.Spec{Kind: stage.Reward, Params: stage.RewardParams{Lambda: .5, Loss: "mse", Seed: 1}}, layout.Input{Name: "labelled", Action: prompts})
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
	params := stage.AdoptParams{Digest: "a\tb"}
	k := store.Key{Stage: "adopt", Revision: 1, Lines: stage.Lines(params)}
	other := store.Entry{Key: "ablate action 1\nstage adopt\n"}
	h := newHistory([]store.Entry{{Action: k.ID(), Key: k.Text()}, other})
	if n := len(h.byStage["adopt"]); n != 1 {
		t.Fatalf("%d entries, want 1", n)
	}
	if _, diffs := h.nearest(byhand.Action("adopt", "", layout.Spec{Kind: stage.Adopt, Params: params}), "xla:cpu"); len(diffs) != 0 {
		t.Errorf("the same action differs in %v", diffs)
	}
}

// TestBaseInputs: features of the proxy's inputs from the base trial are named after the
// base trial, and features of its other inputs are not.
func TestBaseInputs(t *testing.T) {
	act := func(kind stage.Kind, params stage.Params, in ...layout.Input) *layout.Action {
		return byhand.Action(string(kind), "", layout.Spec{Kind: kind, Params: params}, in...)
	}
	reward, tune := act(stage.Reward, stage.RewardParams{Lambda: .5}), act(stage.Finetune, stage.FinetuneParams{Recipe: finetune.Recipe{Beta: 1}})
	images := act(stage.Draw, stage.DrawParams{Sampler: sampler.Options{Steps: 5}}, layout.Input{Name: "tuned", Action: tune})
	proxy := act(stage.Score, stage.ScoreParams{}, layout.Input{Name: "images", Action: images}, layout.Input{Name: "base reward", Action: reward})
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
	if x := p.expect(byhand.Action("a", "", layout.Spec{Kind: stage.Finetune, Cost: 4}), 0); x.seconds != 2 || x.basis != FromRuns {
		t.Errorf("%+v; want 2 s", x)
	}
	if x := p.expect(byhand.Action("a", "", layout.Spec{Kind: stage.Reward, Cost: 4}), 0); x.seconds != 4*(20.+60)/(40+60) || x.basis != Guessed {
		t.Errorf("%+v; want 3.2 s, guessed by the pace of the other stages", x)
	}
	if x := newPace(nil, nil).expect(byhand.Action("a", "", layout.Spec{Kind: stage.Reward, Cost: 4}), 0); x.seconds != 4 || x.basis != Guessed {
		t.Errorf("%+v; want 4 s, guessed", x)
	}
}

// TestLists: prompts of the assessment are compared only with such prompts, even if
// others are more similar.
func TestLists(t *testing.T) {
	k := store.Key{Stage: "prompts", Revision: stage.Prompts.Def().Revision, Lines: []string{`list "labelled"`, "rows 64", "seed.feedback 1"}}
	labelled := store.Entry{Action: k.ID(), Output: store.OutputID(k.ID()), Key: k.Text()}
	held := byhand.Action("held", "", layout.Spec{Kind: stage.Prompts, Params: stage.PromptsParams{List: "assess", Rows: 1024, Seed: 1, Unseen: true}})
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
	tune := byhand.Action("a", "diverges@1", layout.Spec{Kind: stage.Finetune, Params: stage.FinetuneParams{Recipe: finetune.Recipe{Clip: 1e30}}})
	look := byhand.Action("b", "diverges@1", layout.Spec{Kind: stage.Draw, Params: stage.DrawParams{}}, layout.Input{Name: "tuned", Action: tune})
	last := byhand.Action("c", "diverges@1", layout.Spec{Kind: stage.Judge, Params: stage.JudgeParams{}}, layout.Input{Name: "images", Action: look})
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
	return layout.Of(tune, look, last), s, dir
}

// TestFailedInput: the reason of an action whose input failed is that failure.
func TestFailedInput(t *testing.T) {
	for class, want := range map[failure.Class][]string{
		failure.Lost: {"retry it failed (lost): loss is NaN at step 2", "run its input failed (finetune diverges@1)", "run its input failed (finetune diverges@1)"},
		failure.Diverged: {"failed it failed (diverged): loss is NaN at step 2; 'ablate retry' lets the next run try it again",
			"failed its input failed (finetune diverges@1)", "failed its input failed (finetune diverges@1)"},
	} {
		g, s, dir := failures(t, class)
		p, err := New(g, s, dir, "xla:cpu", nil, "")
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
		p, err := New(g, s, dir, class, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.expect(byhand.Action("a", "", layout.Spec{Kind: stage.Draw, Cost: 1})); got.seconds != want || got.basis != FromRuns {
			t.Errorf("%s: %+v; want %v s", class, got, want)
		}
	}
	// One second of a stage, which took ten, says little of a thousand.
	estimate, any, err := Measured(dir, "xla:cpu", Needs{}.Of)
	if err != nil || !any {
		t.Fatal(any, err)
	}
	overall := (10. + prior) / (1 + prior)
	if got, basis := estimate(byhand.Action("a", "", layout.Spec{Kind: stage.Draw, Cost: 1000})); math.Abs(got-1000*(10+overall*stagePrior)/(1+stagePrior)) > 1e-6 || basis != FromRuns {
		t.Errorf("%v s, basis %v", got, basis)
	}
}

// TestEnginePace: the time of an engine's task is in proportion to that of its earlier ones with as
// many GPUs of the model, and is not known without any. Native stages say nothing of it, nor it of them.
func TestEnginePace(t *testing.T) {
	p := newPace([]store.Attempt{
		{Event: store.Event{Stage: "engine-train", Engine: "sd", GPUs: 4, GPU: "H100", Cost: 100}, Seconds: 25, Outcome: store.OutcomeOK},
		{Event: store.Event{Stage: "engine-train", Engine: "sd", GPUs: 4, GPU: "A100", Cost: 100}, Seconds: 75, Outcome: store.OutcomeOK},
		{Event: store.Event{Stage: "engine-train", Engine: "sd", Cost: 100}, Seconds: 200, Outcome: store.OutcomeOK},
		{Event: store.Event{Stage: "draw", Cost: 10}, Seconds: 10, Outcome: store.OutcomeOK},
	}, []store.Entry{{Key: store.Key{Stage: "engine-train", Lines: []string{`engine "sd"`}}.Text(), Bytes: 7}})
	train := func(engine, params string) *layout.Action {
		x := stage.EngineTrainParams{Call: stage.Call{Engine: engine, Params: params}}
		return byhand.Action(engine, "", layout.Spec{Kind: stage.EngineTrain, Params: x, Cost: stage.Cost(x)})
	}
	for _, tc := range []struct {
		a    *layout.Action
		gpus int
		gpu  string
		want expected
	}{
		{train("sd", `{"steps":2000}`), 4, "H100", expected{500, FromRuns, 7}},
		{train("sd", `{"steps":2000}`), 4, "A100", expected{1500, FromRuns, 7}},
		{train("sd", `{"steps":2000}`), 4, "B200", expected{0, Unknown, 7}},
		{train("sd", `{"steps":2000}`), 4, "", expected{1000, FromRuns, 7}}, // a machine without GPUs plans for others
		{train("sd", `{"steps":2000}`), 1, "H100", expected{0, Unknown, 7}},
		{train("sd", `{"steps":2000}`), 0, "H100", expected{4000, FromRuns, 7}},
		{train("clip", `{}`), 4, "", expected{0, Unknown, 0}},
		{byhand.Action("r", "", layout.Spec{Kind: stage.Reward, Cost: 4}), 0, "", expected{4, Guessed, 0}},
	} {
		p.gpu = tc.gpu
		if got := p.expect(tc.a, tc.gpus); got != tc.want {
			t.Errorf("%s with %d GPUs %s: %+v, want %+v", tc.a.Kind, tc.gpus, tc.gpu, got, tc.want)
		}
	}
}

// TestChanges: each change since a plan was saved is listed once, at the stage that has
// the parameter. Later stages are only counted.
func TestChanges(t *testing.T) {
	steps := func(labelled int, clip float64) (list []Step) {
		sample := byhand.Action(fmt.Sprint("sample ", labelled), "", layout.Spec{Kind: stage.Prompts, Params: stage.PromptsParams{List: "labelled", Rows: labelled}})
		label := byhand.Action(fmt.Sprint("label ", labelled), "", layout.Spec{Kind: stage.Label, Params: stage.LabelParams{}})
		tune := byhand.Action(fmt.Sprint("finetune ", labelled, clip), "", layout.Spec{Kind: stage.Finetune, Params: stage.FinetuneParams{Recipe: finetune.Recipe{Clip: clip}}})
		layout.Of(sample, label, tune)
		for _, a := range []*layout.Action{sample, label, tune} {
			list = append(list, Step{Action: a, State: Run})
		}
		return list
	}
	name := filepath.Join(t.TempDir(), "any.name")
	if err := (&Plan{Backend: "xla:cpu", Steps: steps(1000, 1)}).Save(name, "s", nil, nil); err != nil {
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
		{&Plan{Backend: "xla:cpu", Steps: steps(1000, 1)}, nil},
		{&Plan{Backend: "xla:cpu", Steps: steps(500, 1)}, []string{"prompts: feedback.labelled changed from 1000 to 500", "and later stages, which read the results of these: 2 actions"}},
		{&Plan{Backend: "xla:cpu", Steps: steps(1000, 2)}, []string{"finetune: finetune.clip changed from 1 to 2"}},
		{&Plan{Backend: "xla:cuda", Steps: steps(1000, 1)[:2]}, []string{"finetune: actions of the plan that are no longer in the study: 1", "the backend was xla:cpu and is xla:cuda"}},
	} {
		if d := cmp.Diff(tc.want, f.Changes(tc.now)); d != "" {
			t.Errorf("mismatch (-want +got):\n%s", d)
		}
	}
}

// TestFile: a plan in a file gives the graph that it was made of.
func TestFile(t *testing.T) {
	g, _ := lay(t, "seeds: [1, 2]\narms: {all: set: {}, policy: set: finetune: method: \"grpo\", best: set: evaluate: bestOf: 2}")
	name := filepath.Join(t.TempDir(), "run.json")
	if err := Write(name, Head{Study: "s", Name: "s", Backend: "xla:cpu"}, g, nil); err != nil {
		t.Fatal(err)
	}
	h, got, _, err := OpenGraph(name)
	if err != nil || h.Name != "s" || h.Backend != "xla:cpu" {
		t.Fatalf("%+v, %v", h, err)
	}
	type action struct {
		Name   layout.Name
		View   string
		Lines  []string
		Params any
		Inputs []string
		Turn   int32
		Cost   float64
	}
	list := func(g *layout.Graph) (out []action) {
		for _, a := range g.Actions {
			x := action{Name: a.Name, View: a.View(), Lines: a.Lines(), Params: a.Params, Turn: a.Turn, Cost: a.Cost}
			for i, in := range a.Inputs {
				x.Inputs = append(x.Inputs, a.Reads[i]+" "+in.Name.String())
			}
			out = append(out, x)
		}
		return out
	}
	if want, got := list(g), list(got); !reflect.DeepEqual(want, got) {
		t.Errorf("graph %+v\nwant %+v", got, want)
	}
	// What this version would compute in another way is refused.
	whole, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(f *File){
		"has revision":        func(f *File) { f.Specs[3].Revision++ },
		"cannot be read":      func(f *File) { f.Specs[3].Params = []byte(`{"layers2": 3}`) },
		"has the name":        func(f *File) { f.Actions[3].Action[0] ^= 1 },
		"is not a stage":      func(f *File) { f.Specs[3].Stage, f.Specs[3].Revision = "dream", 0 },
		"which is not before": func(f *File) { f.Actions[3].Inputs[0] = int32(len(f.Actions)) },
		"inputs of":           func(f *File) { f.Actions[3].Inputs = nil },
		"is of spec":          func(f *File) { f.Actions[3].Spec = -1 },
		"and trial":           func(f *File) { f.Actions[3].Trial = int32(len(f.Trials)) },
	} {
		changed := *whole
		changed.Specs, changed.Actions = slices.Clone(whole.Specs), slices.Clone(whole.Actions)
		changed.Actions[3].Inputs = slices.Clone(whole.Actions[3].Inputs)
		change(&changed)
		data, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		var b = builder{g: layout.Empty()}
		if err := parse(bytes.NewReader(data), &Head{}, b.visitor()); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), " 3") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":"ablate plan 3","study":"s","backend":"xla:cpu","specs":[{"stage":"pretrain","revision":1,"lines":["data.pairs 1"],"params":{}},{"stage":"prompts","lines":["list \\""]}],"trials":[{"id":"1","view":"a@1"}],"actions":[{"action":"` + strings.Repeat("ab", 32) + `","spec":0,"trial":0,"turn":1,"state":"run"},{"action":"` + strings.Repeat("cd", 32) + `","spec":1,"inputs":[0],"trial":-1,"turn":1}]}`))
	f.Add([]byte(`{"format":"ablate plan 3","actions":[{"spec":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h Head
		p := &File{}
		if parse(bytes.NewReader(data), &h, p.visitor()) == nil {
			p.Changes(&Plan{Backend: "xla:cpu"})
		}
		b := builder{g: layout.Empty()}
		_ = parse(bytes.NewReader(data), &h, b.visitor())
	})
}
