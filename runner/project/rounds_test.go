package project

import (
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/experiments/language"
	"ablate/runner/internal/example"
)

// rows counts the seeds of each row.
func rows(p Project) map[string]int {
	out := map[string]int{}
	for _, v := range p.Study.Views {
		out[v.Row()]++
	}
	return out
}

// TestLooks: rows that are not settled get the seeds of the next look, and so does the
// reference, up to the last look. The state is there when the study is opened again.
func TestLooks(t *testing.T) {
	s := example.Study(t, "seeds: [7]\narms: {plain: set: {}, ones: set: reward: loss: \"none\", b: sweep: \"finetune.beta\": [0, 1]}\ncompare: looks: [3, 5, 6]")
	p, err := Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := []language.Seed{{Pretraining: 7, Feedback: 7}, {Pretraining: 8, Feedback: 8}}; !slices.Equal(p.Study.Seeds[:2], want) || len(p.Study.Seeds) != 6 {
		t.Errorf("seeds %v, want 7 and the integers that follow", p.Study.Seeds)
	}
	if got := rows(p); got["ones"] != 3 || got["plain"] != 3 {
		t.Errorf("at the first look: %v", got)
	}
	open := &compare.Table{Reference: "plain", Rows: []compare.Row{
		{Label: "plain"},
		{Label: "ones", Differences: map[string]compare.Difference{"alignment": {State: compare.Open}}},
		{Label: "b[finetune.beta=0]", Differences: map[string]compare.Difference{"alignment": {State: compare.Found}}},
	}}
	if _, _, more := p.Next(open, Nothing); more {
		t.Error("a run without a goal adds seeds")
	}
	late := p
	for _, want := range []int{5, 6} {
		next, list, more := p.Next(open, Significant)
		if got := rows(next); !more || !slices.Equal(list, []string{"ones"}) || got["ones"] != want || got["plain"] != want || got["b[finetune.beta=0]"] != 3 {
			t.Fatalf("rows %v go on to %v, want ones and the reference at %d seeds", list, got, want)
		}
		if next, err = next.Claim("go"); err != nil {
			t.Fatal(err)
		}
		if err := next.SaveRounds(); err != nil {
			t.Fatal(err)
		}
		if p, err = Open(s, nil, ""); err != nil {
			t.Fatal(err)
		}
		if got := rows(p); got["ones"] != want || got["b[finetune.beta=0]"] != 3 {
			t.Errorf("opened again: %v", got)
		}
	}
	// A run that is a round behind leaves the newer state.
	if late, err = late.Claim("go"); err != nil {
		t.Fatal(err)
	}
	next, _, _ := late.Next(open, Significant)
	if err := next.SaveRounds(); err != nil {
		t.Fatal(err)
	}
	if p, err = Open(s, nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := rows(p)["ones"]; got != 6 {
		t.Errorf("a run that is behind has brought the row from 6 back to %d seeds", got)
	}
	if _, _, more := p.Next(open, Significant); more {
		t.Error("seeds are added after the last look")
	}

	// The looks at which results were tested, and the last one, must stay.
	for _, tc := range []struct {
		looks string
		ok    bool
	}{{"[3, 5, 6]", true}, {"[3, 4, 6]", false}, {"[3, 5, 6, 8]", false}, {"[3, 5]", false}} {
		s := example.Study(t, "seeds: [7]\ncompare: looks: "+tc.looks)
		if err := p.Rounds.fit(s); (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), "copy the study under another name") {
			t.Errorf("looks %s after [3 5 6]: %v", tc.looks, err)
		}
	}
}

// TestPick: all points of an arm run with the seeds for the choice, and the chosen point
// with the other seeds too.
func TestPick(t *testing.T) {
	s := example.Study(t, "seeds: [1, 2, 3]\narms: {plain: set: {}, b: {sweep: \"finetune.beta\": [0, 1], pick: {by: \"alignment\", on: [1], report: [2, 3]}}}")
	p, err := Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	next, _, more := p.Next(&compare.Table{Reference: "plain", Chosen: map[string]string{"b": "b[finetune.beta=1]"}}, Nothing)
	if got := rows(next); !more || got["plain"] != 3 || got["b[finetune.beta=0]"] != 1 || got["b[finetune.beta=1]"] != 3 {
		t.Errorf("rows %v", got)
	}
	if _, _, more := next.Next(&compare.Table{Reference: "plain", Chosen: map[string]string{"b": "b[finetune.beta=1]"}}, Nothing); more {
		t.Error("the same choice asks for more")
	}
}

// FuzzRounds: any content of the file is read, or is an error.
func FuzzRounds(f *testing.F) {
	f.Add([]byte(`{"looks":[3,5],"seeds":{"a":5},"picks":{"b":"b[x=1]"}}`))
	f.Add([]byte(`{"looks":[3,5],"seeds":{"a":4}}`))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Rounds
		if r.decode(data) == nil {
			for row, n := range r.Seeds {
				if !slices.Contains(r.Looks, n) {
					t.Errorf("%s has %d seeds of looks %v", row, n, r.Looks)
				}
			}
		}
	})
}
