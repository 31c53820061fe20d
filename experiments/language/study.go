// Package language reads studies: it loads a CUE package, checks all of it and
// expands it to the trials it stands for, as plain Go values.
//
// The way of the data: load the CUE package with the embedded schema in place of
// any other copy (load.go); read base, arms and seeds and check each value by
// itself (read.go, value.go); override and fill in defaults (partial.go); expand
// sweeps (expand.go) and take from each point what it does not use (rules.go).
// CUE types the base and each axis' values, a sum; Go expands their product, and
// a point goes through CUE only where an arm's where asks for it.
//
// Types, constraints, defaults and cross-field rules come from the schema. What
// CUE cannot say is done here: that an arm overrides its base, that one
// alternative removes another, and when two trials are one.
//
// Nothing here reaches the network, logs, or depends on the time. A study is a
// program, and CUE can be made to compute without end: Options.Alive hears of
// every step that was done, so that a caller can give up; runner/sandbox
// loads studies in a child process.
package language

import "strconv"

// Options change a study as it is loaded. They are no part of any identity but
// through the study that results.
type Options struct {
	// Set changes the base before the arms apply: "finetune.beta=0.1", the value
	// in CUE, the quotes of a string optional. Later ones win.
	Set []string

	// Alive, if not nil, is called after every step of the work.
	Alive func()
}

// Study is a study, checked and expanded.
type Study struct {
	Declared   string // path of the package's folder, or of the one file, below the module's root
	Name       string // Declared; DECLARED@HASH where Options.Set changes it
	Path       string // what to name it by in the module's root
	Root, Dir  string // absolute folders: the CUE module's root, the study's own
	Title      string
	Question   string
	Version    int // of the study language
	Base       Content
	Arms       []Arm // at least one, in the study's order
	Seeds      []Seed
	Views      []View             // arms × points × seeds, in this order
	Reference  string             // the arm that the others are compared with
	Detect     map[string]float64 // by metric, the size of a difference that matters
	Show       []string           // metrics that the short tables have beside their own
	Primary    []string           // metrics whose differences are tested for significance; nil: those of compare.Primary
	Contrasts  [][2]string        // pairs of rows to compare beside those with the reference, by label: the first minus the second
	Looks      []int              // numbers of seeds after which 'run --until' tests; nil where the number is fixed. Seeds and Views go up to the last
	Precise    map[string]float64 // by metric, the width of an interval that 'run --until precise' is to reach
	Prompts    string             // what prompts are to the study: fixed, sampled, or empty: as their source says
	Imported   *Imported          // where its results are from; nil for a study that this program runs
	Gate       []Gate             // what check holds against a baseline, in the study's order
	Collapsed  int                // points left out, for an earlier one of their arm is the same
	Excluded   []Excluded
	Confounded []Confounded // arms that differ from the reference in more than one factor
	Files      []File       // what the study names outside itself
	Notes      []string     // what a reader should know and is no mistake, a line each
}

// Gate is by how much a metric may be worse than its baseline: by nothing where both
// sizes are nil.
type Gate struct {
	Metric             string
	Absolute, Relative *float64
	Seeds              int // the least number to check with
}

// File is a file or folder that a study names, and where it does.
type File struct {
	Path  string // as it is to be opened
	Where *Error // place and path of the value; without a message
}

// Mistake returns an error about the file, at the place that names it.
func (f File) Mistake(msg, hint string) *Error {
	e := *f.Where
	e.Msg, e.Hint = msg, hint
	return &e
}

// Excluded is a point that its arm's where leaves out.
type Excluded struct {
	Arm   string
	Point []AxisValue
}

// String returns "ARM[axis=value,…]".
func (e Excluded) String() string { return e.Arm + formatPoint(e.Point) }

// Trials returns the study's trials, each once, in the order of their first view.
func (s *Study) Trials() []Trial {
	var list []Trial
	seen := map[ID]bool{}
	for _, v := range s.Views {
		if id := v.Trial.ID(); !seen[id] {
			seen[id] = true
			list = append(list, v.Trial)
		}
	}
	return list
}

// Arm is a row of the ablation table, or a row a point where it sweeps.
type Arm struct {
	Name   string
	Seeds  []Seed  // the study's, or some of them
	Points []Point // at least one; just one, without axes, where the arm sweeps nothing

	Control bool  // it is there to check the study, and no method
	Pick    *Pick // nil where all points are reported
}

// Pick chooses a point of an arm by its mean of a metric on some seeds, and reports it on
// others.
type Pick struct {
	By         string
	On, Report []Seed
}

// Point is one combination of an arm's swept values, without a seed.
type Point struct {
	Axes    []AxisValue // in the order of the sweep, without those that the point does not use
	Content Content
}

// AxisValue is the value of one swept axis.
type AxisValue struct {
	Axis  string // dotted path
	Value any    // float64, int64 or string
}

// Seed seeds a trial's random numbers: Pretraining those of the denoiser, the
// embedder and their data, Feedback those of every other stage.
type Seed struct{ Pretraining, Feedback int64 }

// String returns "3" where both are 3, else "1.2" for {pretraining: 1, feedback: 2}.
func (s Seed) String() string {
	p := strconv.FormatInt(s.Pretraining, 10)
	if s.Pretraining == s.Feedback {
		return p
	}
	return p + "." + strconv.FormatInt(s.Feedback, 10)
}

// View is one point of an arm with one seed. Several views may be one trial.
type View struct {
	Arm   string
	Point []AxisValue
	Trial Trial
}

// String returns "ARM[axis=value,…]@seed", or "ARM@seed" for a point without axes.
func (v View) String() string { return v.Row() + "@" + v.Trial.Seed.String() }

// Row is the row of the table that the view is part of, "ARM[axis=value,…]" or
// "ARM".
func (v View) Row() string { return v.Arm + formatPoint(v.Point) }

func formatPoint(axes []AxisValue) string {
	if len(axes) == 0 {
		return ""
	}
	s := "["
	for i, a := range axes {
		if i > 0 {
			s += ","
		}
		s += a.Axis + "=" + FormatValue(a.Value)
	}
	return s + "]"
}
