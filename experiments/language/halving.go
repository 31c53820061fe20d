package language

import (
	"fmt"
	"math"
	"strings"

	"cuelang.org/go/cue"
)

// Halving says when rows are stopped during their fine-tuning, by synchronous successive
// halving (Jamieson & Talwalkar 2016).
type Halving struct {
	By   string  // the score that decides: ByProxy
	At   []int   // numbers of steps at which rows are compared (rungs), increasing
	Keep float64 // share of the rows that goes on at each
}

// ByProxy is the value of Halving.By: the proxy, which is the base trial's reward.
const ByProxy = "proxy"

// halving reads the early stopping of a study.
func (r *reader) halving(v cue.Value) *Halving {
	const want = `write halving: {by: "proxy", at: [100, 200], keep: 0.5}`
	h := &Halving{}
	known := []string{"by", "at", "keep"}
	mistakes := len(r.m.list)
	list := r.fields(v, "halving", "a struct with by, at and keep", known...)
	for _, f := range list {
		path := "halving." + f.name
		switch f.name {
		case "by":
			h.By = r.text(f.value, path)
			switch {
			case h.By == "" || h.By == ByProxy:
			case usesGold(h.By):
				r.m.add(r.place(f.value), path, fmt.Sprintf("%s is measured by the gold judge: the values of rows that the gold has selected would be biased upwards, and so would be their tests", h.By), `write by: "proxy"`)
			case contains(metrics(), h.By):
				r.m.add(r.place(f.value), path, fmt.Sprintf("%s is not measured during a fine-tuning", h.By), `write by: "proxy"`)
			default:
				r.m.add(r.place(f.value), path, fmt.Sprintf("%q is not a score that rows can be stopped by", h.By), `write by: "proxy"`)
			}
		case "at":
			h.At = r.rungs(f.value, path)
		case "keep":
			x, err := f.value.Float64()
			if err != nil || !(x > 0 && x < 1) {
				r.m.add(r.place(f.value), path, text(f.value)+" is not a share of rows", "write a number between 0 and 1, such as 0.5")
			}
			h.Keep = x
		default:
			r.m.add(r.named(f.value), path, "halving has no such field", didYouMean(f.name, known))
		}
	}
	for _, name := range known {
		if list != nil && !contains(names(list), name) {
			r.m.add(r.place(v), "halving", "has no "+name, want)
		}
	}
	if len(r.m.list) > mistakes {
		return nil
	}
	return h
}

// usesGold reports whether a metric is measured with the gold judge.
func usesGold(metric string) bool {
	return metric == "alignment" || strings.HasPrefix(metric, "alignment.") || metric == "skipped" || strings.HasPrefix(metric, "diversity") ||
		strings.HasSuffix(metric, ".gold") || strings.HasSuffix(metric, ".agreement")
}

// rungs reads numbers of steps.
func (r *reader) rungs(v cue.Value, path string) (out []int) {
	const want = "write at: [100, 200]"
	list, err := v.List()
	if err != nil {
		if !r.broken(v) {
			r.m.add(r.place(v), path, text(v)+" is not a list of numbers of steps", want)
		}
		return nil
	}
	for i := 0; list.Next(); i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		n, err := list.Value().Int64()
		switch {
		case err != nil || n < 1 || n > math.MaxInt32:
			r.m.add(r.place(list.Value()), at, text(list.Value())+" is not a number of steps", "write a whole number from 1 up")
			return nil
		case i > 0 && int(n) <= out[i-1]:
			r.m.add(r.place(list.Value()), at, fmt.Sprintf("%d follows %d; the numbers of steps must increase", n, out[i-1]), want)
			return nil
		}
		out = append(out, int(n))
	}
	if out == nil {
		r.m.add(r.place(v), path, "it is empty", want)
	}
	return out
}

// halved checks the early stopping of a study against the rest of it. v is the field halving.
func (r *reader) halved(v cue.Value, s *Study, arms []*arm) {
	h := s.Halving
	if s.Looks != nil {
		r.m.add(r.place(v), "halving", "the study has looks, too: both decide from results which trials run, and the tests are corrected for one of them only", "leave out compare.looks or halving")
	}
	if s.Base.Name("model.program.engine") != "" {
		r.m.add(r.place(v), "halving", "an engine loads the model: its training is one action, which cannot wait after some steps until the other rows are compared, because its state is not in the store", "leave halving out")
		return
	}
	r.sameSeeds(arms)
	if !s.Base.Learns() {
		r.m.add(r.place(v.LookupPath(cue.ParsePath("by"))), "halving.by", "the base trial learns no reward, so that the study has no proxy", "set reward.loss of base to a loss that learns, or leave halving out")
		return
	}
	if len(r.m.list) > 0 { // the arms may be incomplete
		return
	}
	longest := 0
	fixed := s.fixed()
	for _, a := range s.Arms {
		for _, p := range a.Points {
			if !fixed[p.Content.Training()] {
				longest = max(longest, p.Content.Whole("finetune.steps"))
			}
		}
	}
	if longest == 0 {
		r.m.add(r.place(v), "halving", "no row can stop: the reference, controls and rows without fine-tuning never do", "add rows that fine-tune, or leave halving out")
		return
	}
	list, err := v.LookupPath(cue.ParsePath("at")).List()
	if err != nil {
		return
	}
	for i := 0; list.Next(); i++ {
		if h.At[i] >= longest {
			r.m.add(r.place(list.Value()), fmt.Sprintf("halving.at[%d]", i), fmt.Sprintf("no row can stop after step %d: the longest fine-tuning of the rows that may stop has %d steps", h.At[i], longest), "write fewer steps")
		}
	}
}

// sameSeeds adds a mistake for each arm that does not run with all seeds of the study.
func (r *reader) sameSeeds(arms []*arm) {
	for _, a := range arms {
		switch {
		case a.pick != nil:
			r.m.add(a.seedsAt, a.path, "the arm picks a point by its results, and halving stops rows by theirs: the selection would be among the points that are left", "leave out pick or halving")
		case a.seeds != nil:
			r.m.add(a.seedsAt, a.path, "the arm names its seeds, and halving compares means over the same seeds", "leave out the arm's seeds or halving")
		}
		r.sameSeeds(a.inner)
	}
}

// fixed returns the trainings that cannot stop: those of rows of the reference and of controls, and
// those without fine-tuning. Another row of the same training cannot stop either, for it runs
// anyway.
func (s *Study) fixed() map[string]bool {
	out := map[string]bool{}
	for _, a := range s.Arms {
		for _, p := range a.Points {
			if a.Control || a.Name == s.Reference || p.Content.Name("reward.loss") == "oracle" || p.Content.Whole("finetune.steps") == 0 {
				out[p.Content.Training()] = true
			}
		}
	}
	return out
}

// rungs sets the rungs of the study's views.
func (s *Study) rungs() {
	if s.Halving == nil {
		return
	}
	fixed, i := s.fixed(), 0
	for _, a := range s.Arms {
		for _, p := range a.Points {
			var rungs []int
			if !fixed[p.Content.Training()] {
				rungs = s.Halving.below(p.Content.Whole("finetune.steps"))
			}
			for range a.Seeds {
				s.Views[i].Rungs = rungs
				i++
			}
		}
	}
}

// below returns the rungs of a fine-tuning.
func (h *Halving) below(steps int) (out []int) {
	for _, at := range h.At {
		if at < steps {
			out = append(out, at)
		}
	}
	return out
}
