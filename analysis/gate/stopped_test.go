package gate_test

import (
	"slices"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/gate"
)

// TestStopped: a row that was stopped early is in no baseline. Where the baseline has values
// of it, the check cannot decide; where it has none, the row is new and lacks nothing.
func TestStopped(t *testing.T) {
	value := func(arm, metric, seed int) float64 { return .5 + float64(arm)/10 + float64(seed)/100 }
	whole, stopped := draw(2, 3, value), draw(2, 3, value)
	stopped.Rows[1].Stopped, stopped.Rows[1].Cells = &compare.Stopped{Step: 100}, nil
	b := baseline(t, stopped)
	if slices.ContainsFunc(b.Rows, func(r gate.BaselineRow) bool { return r.Row == "arm 1" }) {
		t.Error("a row without values is in the baseline")
	}
	if r := check(t, b, stopped, gate.Options{Tolerances: margins()}); r.Outcome != gate.Within || by(r, "arm 1", "").Verdict != gate.Added {
		t.Errorf("outcome %s, %+v", r.Outcome, by(r, "arm 1", ""))
	}
	r := check(t, baseline(t, whole), stopped, gate.Options{Tolerances: margins()})
	if v := by(r, "arm 1", "alignment"); r.Outcome != gate.Inconclusive || v.Verdict != gate.Inconclusive || v.Reason == "" {
		t.Errorf("outcome %s, %+v", r.Outcome, v)
	}
}
