package result

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"ablate/analysis/gate"
	"ablate/runner/selection"
	"ablate/runner/store"
)

// mostBaseline is the largest size of a baseline in bytes. It has room for 80,000 rows
// with four metrics and three seeds.
const mostBaseline = 64 << 20

// ReadBaseline reads a file that 'ablate baseline' wrote.
func ReadBaseline(name string) (*gate.Baseline, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("baseline %s: there is no such file; 'ablate baseline STUDY -o %s' writes one", name, name)
	}
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer f.Close()
	in, err := io.ReadAll(io.LimitReader(f, mostBaseline+1)) // the size is not known in advance if it is a pipe
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	if len(in) > mostBaseline {
		return nil, fmt.Errorf("baseline %s: it has more than %d bytes, which is too large for a baseline: give the file that 'ablate baseline' wrote", name, mostBaseline)
	}
	b, err := gate.Read(in)
	if err != nil {
		return nil, fmt.Errorf("baseline %s: %w", name, err)
	}
	return b, nil
}

// Incomplete returns the name "ROW@SEED" of each view that lacks results. A baseline made
// without them would not guard them.
func (r *Result) Incomplete() []string {
	var out []string
	for _, v := range r.Project.Study.Views {
		if !v.Stopped && !r.Complete(r.Project.Graph.Chains[v.Trial.ID()]) {
			out = append(out, v.String())
		}
	}
	return out
}

// Baseline returns a baseline of the metrics that the study guards.
func (r *Result) Baseline() (*gate.Baseline, error) {
	var metrics []string
	for _, t := range r.Project.Study.Gate {
		metrics = append(metrics, t.Metric)
	}
	return gate.New(r.Project.Study.Declared, r.made(), r.Ablation, metrics)
}

// made describes the environment that computed the results.
func (r *Result) made() gate.Made {
	return gate.Made{Backend: r.Class,
		Versions: Distinct(r.Computed, func(a store.Attempt) string { return a.Versions }), CPUs: Distinct(r.Computed, func(a store.Attempt) string { return a.CPU })}
}

// Scope is the part of a study that Check compares with a baseline.
type Scope struct {
	Only         []string // values of --only; empty means all rows
	Seeds        []string // values of --seed; empty means all seeds
	AllowRemoved bool     // rows and seeds that the study has dropped are not regressions
}

// options returns the options of a check against a baseline.
func (r *Result) options(b *gate.Baseline, scope Scope) (gate.Options, error) {
	s := r.Project.Study
	// --only may also name rows that the study has dropped and the baseline has.
	rows, only := selection.Rows(s), []string(nil)
	if s.Imported != nil {
		for _, r := range r.Ablation.Rows {
			rows = append(rows, selection.Row{Arm: r.Arm, Label: r.Label})
		}
	}
	for _, row := range b.Rows {
		rows = append(rows, selection.Row{Arm: row.Arm, Label: row.Row})
	}
	for _, name := range scope.Only {
		labels, err := selection.Match(rows, s.Name, name)
		if err != nil {
			return gate.Options{}, err
		}
		only = append(only, labels...)
	}
	o := gate.Options{Only: only, Seeds: scope.Seeds, AllowRemoved: scope.AllowRemoved, Study: s.Declared, Made: r.made(), Looks: s.Looks}
	for _, t := range s.Gate {
		o.Tolerances = append(o.Tolerances, gate.Tolerance{Metric: t.Metric, Absolute: t.Absolute, Relative: t.Relative, Seeds: t.Seeds})
	}
	return o, nil
}

// Check compares the results with a baseline. It returns an error if the scope names a
// row or seed that does not exist.
func (r *Result) Check(b *gate.Baseline, scope Scope) (*gate.Result, error) {
	o, err := r.options(b, scope)
	if err != nil {
		return nil, err
	}
	result, err := gate.Check(b, r.Ablation, o)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return result, nil
}
