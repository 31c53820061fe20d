package stage

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ablate/models/nn"
	"ablate/models/random"
	"ablate/models/reward"
)

// TestAssess: known answers by hand, of the reward at ½ and of the embedder at
// its cut, seen and unseen, against labels and gold.
func TestAssess(t *testing.T) {
	rewards := []float64{.9, .8, .3, .1, .6}
	cosines := []float64{.4, .1, .3, .0, .2}
	labels := []bool{true, false, true, false, true}
	gold := []bool{true, true, false, false, true}
	seen := []bool{true, true, true, false, false}
	a := assess(rewards, cosines, .25, labels, gold, seen)
	got := map[string]Metric{}
	for _, m := range a.Metrics {
		got[m.Name] = m
	}
	ece := (math.Abs(.9-1) + .8 + math.Abs(.3-1) + .1 + math.Abs(.6-1)) / 5 // each in a bin of its own
	for name, want := range map[string]Metric{
		"reward.accuracy": {Value: 3. / 5, N: 5}, "reward.accuracy.seen": {Value: 1. / 3, N: 3}, "reward.accuracy.unseen": {Value: 1, N: 2},
		"reward.auc": {Value: 4. / 6, N: 5}, "reward.auc.gold": {Value: 1, N: 5}, "reward.agreement": {Value: 1, N: 5}, "reward.ece": {Value: ece, N: 5},
		"embedder.accuracy": {Value: 4. / 5, N: 5}, "embedder.accuracy.seen": {Value: 1, N: 3}, "embedder.accuracy.unseen": {Value: .5, N: 2},
		"embedder.auc": {Value: 1, N: 5}, "embedder.auc.gold": {Value: 4. / 6, N: 5}, "embedder.agreement": {Value: 2. / 5, N: 5},
	} {
		if m := got[name]; math.Abs(m.Value-want.Value) > 1e-12 || m.N != want.N {
			t.Errorf("%s is %v of %d, want %v of %d", name, m.Value, m.N, want.Value, want.N)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("unexpected: %v", got)
	}
	if b := a.Bins[9]; b.N != 1 || b.Labelled != 1 || b.Gold != 1 || b.Score != .9 {
		t.Errorf("the last bin is %+v", b)
	}
	// If all verdicts are the same there is no AUC, and without images there are no
	// metrics.
	for _, m := range assess([]float64{.2}, []float64{.2}, 0, []bool{true}, []bool{true}, []bool{true}).Metrics {
		if strings.Contains(m.Name, "auc") || strings.Contains(m.Name, "unseen") {
			t.Errorf("%s of one seen image is %v", m.Name, m.Value)
		}
	}
	if m := assess(nil, nil, 0, nil, nil, nil).Metrics; len(m) > 0 {
		t.Errorf("figures of nothing: %v", m)
	}
}

// TestRewardFile: an ensemble and how it is used come back as they were written.
func TestRewardFile(t *testing.T) {
	c := reward.Config{Embedding: 3, Hidden: 2, Inputs: reward.Product}
	r := random.Stream(1, "test", "file", 0)
	for _, members := range []int{1, 3} {
		want := &reward.Model{Config: c, Use: reward.Use{Penalty: .5, Temperature: .2, Contrasts: 4}}
		for range members {
			want.Members = append(want.Members, nn.Init(c.Params(), r))
		}
		dir := t.TempDir()
		if err := writeReward(dir, want); err != nil {
			t.Fatal(err)
		}
		got, err := readReward(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d members: mismatch (-want +got)\n%s", members, d)
		}
	}
}
