package language

import (
	"fmt"
	"math"
	"slices"

	"cuelang.org/go/cue"
)

// looks reads the numbers of seeds at the interim analyses of a study, and sets the study's
// seeds to those of the last look.
func (r *reader) looks(v cue.Value, path string, s *Study) []int {
	const want = "write looks: [3, 5, 8, 12]"
	list, err := v.List()
	if err != nil {
		if !r.broken(v) {
			r.m.add(r.place(v), path, text(v)+" is not a list of numbers of seeds", want)
		}
		return nil
	}
	var out []int
	for i := 0; list.Next(); i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		n, err := list.Value().Int64()
		switch {
		case err != nil || n < 3 || n > mostLook:
			r.m.add(r.place(list.Value()), at, fmt.Sprintf("%s is not a number of seeds from 3 to %d", text(list.Value()), mostLook), "an interval over seeds needs three")
			return nil
		case i > 0 && int(n) <= out[i-1]:
			r.m.add(r.place(list.Value()), at, fmt.Sprintf("%d follows %d; looks must increase", n, out[i-1]), want)
			return nil
		}
		out = append(out, int(n))
	}
	if len(out) < 2 {
		r.m.add(r.place(v), path, "a study that may stop early has two looks or more", want)
		return nil
	}
	last, largest := out[len(out)-1], int64(0)
	for _, seed := range s.Seeds {
		if seed.Pretraining != seed.Feedback {
			r.m.add(r.place(v), path, fmt.Sprintf("seed %s is a pair, and looks add single integers", seed), "write plain numbers as seeds, or leave looks out")
			return nil
		}
		largest = max(largest, seed.Pretraining)
	}
	if len(s.Seeds) > last {
		r.m.add(r.place(v), path, fmt.Sprintf("the study has %d seeds, and its last look is at %d", len(s.Seeds), last), "the last look has all seeds")
		return nil
	}
	if largest > math.MaxInt64-mostLook {
		r.m.add(r.place(v), path, fmt.Sprintf("the integers after seed %d are too large", largest), "write smaller seeds")
		return nil
	}
	s.Seeds = slices.Clone(s.Seeds)
	for len(s.Seeds) < last {
		largest++
		s.Seeds = append(s.Seeds, Seed{largest, largest})
	}
	return out
}

// mostLook is the largest number of seeds of a look.
const mostLook = 10_000

// fixedSeeds adds a mistake for each arm of a study with looks that has its own seeds.
func (r *reader) fixedSeeds(arms []*arm) {
	for _, a := range arms {
		if a.seeds != nil || a.pick != nil {
			r.m.add(a.seedsAt, a.path, "the arm names its seeds, and compare.looks adds seeds while the study runs", "leave out one of the two")
		}
		r.fixedSeeds(a.inner)
	}
}

// seedsOf reads a list of seeds that must be among the study's.
func (r *reader) seedsOf(v cue.Value, path string, all map[Seed]bool) []Seed {
	out := r.seeds(v, path)
	for i, s := range out {
		if all != nil && !all[s] {
			r.m.add(r.place(v), fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("seed %s is not a seed of the study", s), "name some of the study's seeds")
		}
	}
	return out
}

// pick reads the selection of a point of a sweep.
func (r *reader) pick(v cue.Value, path string, all map[Seed]bool) *Pick {
	const want = `write pick: {by: "alignment", on: [1, 2], report: [3, 4, 5]}`
	var p Pick
	known := []string{"by", "on", "report"}
	for _, f := range r.fields(v, path, "a choice by a metric: by, on and report", known...) {
		at := path + "." + f.name
		switch f.name {
		case "by":
			p.By = r.text(f.value, at)
			r.metric(p.By, r.place(f.value), at)
		case "on":
			p.On = r.seedsOf(f.value, at, all)
		case "report":
			p.Report = r.seedsOf(f.value, at, all)
		default:
			r.m.add(r.named(f.value), at, "pick has no such field", didYouMean(f.name, known))
		}
	}
	if p.By == "" || p.On == nil || p.Report == nil {
		r.m.add(r.place(v), path, "pick needs by, on and report", want)
		return nil
	}
	for _, s := range p.Report {
		if slices.Contains(p.On, s) {
			r.m.add(r.place(v), path, fmt.Sprintf("seed %s is in both on and report; values on the seeds of the selection are biased upwards", s), "use each seed for one of the two")
			return nil
		}
	}
	return &p
}
