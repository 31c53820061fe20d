package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/stage"
	"ablate/runner/store"
	"ablate/runner/study"
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
		{"sample", []Difference{{"sample of labelled", "images", "1000", "500"}}, "feedback.labelled changed from 1000 to 500"},
		{"finetune", []Difference{{"finetune", "revision", "1", "2"}}, "the code of finetune changed from 1 to 2"},
		{"evaluate", []Difference{{"data", "pairs", "1", "2"}, {"finetune", "a", "1", "2"}, {"finetune", "b", "1", "2"}, {"finetune", "c", "1", "2"}},
			"data.pairs changed from 1 to 2, finetune.a changed from 1 to 2, finetune.b changed from 1 to 2, and 1 more"},
		{"finetune", nil, "what it reads has other bytes than before, or is no longer in the store"},
	} {
		if got := Words(tc.kind, tc.diffs); got != tc.want {
			t.Errorf("%s %v:\n got %s\nwant %s", tc.kind, tc.diffs, got, tc.want)
		}
	}
}

// TestNearest: of two earlier rewards the one that differs in less is named, and
// what an action reads counts as its own.
func TestNearest(t *testing.T) {
	key := func(kind stage.Kind, lines []string, in ...store.Input) store.Entry {
		k := store.Key{Stage: string(kind), Revision: stage.Revision[kind], Lines: lines, Inputs: in, Backend: "xla:cpu"}
		return store.Entry{Action: k.ID(), Output: store.OutputID(k.ID()), Key: k.Text()}
	}
	samples := key(stage.Sample, []string{`split "labelled"`, "images 10", "seed.feedback 1"})
	near := key(stage.Reward, []string{"reward.lambda 0", "reward.loss \"mse\"", "seed.feedback 1"}, store.Input{Name: "labelled", Output: samples.Output})
	far := key(stage.Reward, []string{"reward.lambda 3", "reward.loss \"mse\"", "seed.feedback 2"})
	h := newHistory([]store.Entry{far, samples, near})
	a := &study.Action{Kind: stage.Reward, Lines: []string{"reward.lambda 0.5", "reward.loss \"mse\"", "seed.feedback 1"},
		Inputs: []study.Input{{Role: "labelled", Action: &study.Action{Kind: stage.Sample, Lines: []string{`split "labelled"`, "images 20", "seed.feedback 1"}}}}}
	e, diffs := h.nearest(a, "xla:cpu")
	if e.Action != near.Action {
		t.Errorf("nearest is %s", e.Key)
	}
	want := []Difference{{"reward", "lambda", "0", "0.5"}, {"sample of labelled", "images", "10", "20"}}
	if d := cmp.Diff(want, diffs); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

func TestPace(t *testing.T) {
	p := newPace([]store.Attempt{
		{Event: store.Event{Stage: "finetune", Cost: 10}, Seconds: 5, Outcome: store.OutcomeOK},
		{Event: store.Event{Stage: "finetune", Cost: 30}, Seconds: 15, Outcome: store.OutcomeOK},
		{Event: store.Event{Stage: "finetune", Cost: 10}, Seconds: 500, Outcome: store.OutcomeFailed},
	}, nil)
	if s, rough, _ := p.expect(&study.Action{Kind: stage.Finetune, Cost: 4}); s != 2 || rough {
		t.Errorf("%v s, a guess %v; want 2 s", s, rough)
	}
	if s, rough, _ := p.expect(&study.Action{Kind: stage.Reward, Cost: 4}); s != 4 || !rough {
		t.Errorf("%v s, a guess %v; want 4 s, guessed", s, rough)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":"ablate plan 1","study":"s","backend":"xla:cpu","actions":[{"stage":"pretrain","action":"a","state":"run","revision":1,"lines":["data.pairs 1"]},{"stage":"sample","action":"b","inputs":{"model":0}}]}`))
	f.Add([]byte(`{"format":"ablate plan 1","actions":[{"inputs":{"a":0}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parse(data)
		if err != nil {
			return
		}
		p.Changes(&Plan{Backend: "xla:cpu"})
	})
}
