// Package language reads studies: it loads a CUE package, checks all of it and expands it to
// its trials, as plain Go values.
//
// Its steps are: load the CUE package with the embedded schema in place of any other copy
// (load.go); read base, arms and seeds and check each value (read.go, value.go); override the
// base and fill in defaults (partial.go); expand sweeps (expand.go), and remove from each point
// the parameters that it does not use (rules.go). CUE checks the base and each axis' values; Go
// expands the product of the axes, and CUE evaluates a point only where an arm's where asks for
// it.
//
// Types, constraints, defaults and cross-field rules come from the schema. Three things that
// CUE cannot express are done here: an arm overrides its base, one alternative removes another,
// and two trials are found to be the same.
//
// Nothing here uses the network, logs, or depends on the time. A study is a program, and CUE
// may compute without end. Options.Alive is called after every step, so that a caller can set a
// time limit; runner/sandbox loads studies in a child process.
package language

import "strconv"

// Options change a study as it is loaded. They identify nothing by themselves: ids depend on
// the study that results.
type Options struct {
	// Set changes the base before arms override it: "finetune.beta=0.1", with the value in CUE;
	// a string needs no quotes. Later ones win.
	Set []string

	// Stages are the names of stages that machine.cue may have; nil takes all names.
	Stages []string

	// Describe asks an engine what it can do. It is called once for each engine that the study
	// declares, before the base is read, with the study's Root and MachineEngines; its error is
	// a mistake of the study at the engine's place. If it is nil, a study with engines is refused.
	Describe func(s *Study, e Engine) (*Program, error)

	// Alive, if not nil, is called after every step of the work.
	Alive func()
}

// Study is a study, checked and expanded.
type Study struct {
	Declared   string // path of the package's folder, or of a single file, below the module's root
	Name       string // Declared, or DECLARED@HASH where Options.Set changes the study
	Path       string // the study's argument of a command that is run in the module's root
	Root, Dir  string // absolute paths: root of the CUE module, folder of the study
	Title      string
	Question   string
	Version    int // of the study language
	Base       Content
	Arms       []Arm // at least one, in the study's order
	Seeds      []Seed
	Views      []View             // arms × points × seeds, in this order
	Reference  string             // name of the arm that the others are compared with
	Detect     map[string]float64 // by metric, the smallest difference that matters, in the metric's units
	Show       []string           // metrics that the short tables show in addition to their own
	Primary    []string           // metrics whose differences are tested for significance; nil: compare.Primary
	Contrasts  [][2]string        // further pairs of rows to compare, by label: the first minus the second
	Looks      []int              // numbers of seeds of the interim analyses of 'run --until'; nil where the number is fixed. Seeds and Views are those of the last look
	Precise    map[string]float64 // by metric, the width of intervals at which 'run --until precise' stops
	Halving    *Halving           // when rows stop early; nil where all run to their end
	Prompts    string             // fixed or sampled; empty: decided by the source of the prompts
	Imported   *Imported          // the source of imported results; nil for a study that this program runs
	Gate       []Gate             // metrics that 'ablate check' compares with a baseline, in the study's order
	Collapsed  int                // number of points that were left out because an earlier point of the arm is the same
	Excluded   []Excluded         // points that were left out by an arm's where
	Confounded []Confounded       // arms that differ from the reference in more than one factor
	Files      []File             // files and folders that the study names
	Tagged     []Tagged           // metrics of categories, in a study with engines
	Notes      []string           // remarks that are not errors, a line each
	Machine    []Resources        // what the file of the site says that stages need; part of no trial

	Engines         []Engine // in the study's order
	Judges          []Judge  // beside the gold, in the study's order; part of no trial
	EngineResources []EngineResources
	MachineEngines  []MachineEngine // what the file of the site changes of engines; part of no trial
	Overlap         int             // number of evaluation prompts that may be among the training prompts
	Resume          string          // "strict" where trainings are resumed in their environment only, else empty
}

// Gate is the margin by which a metric may be worse than its baseline; the margin is 0 where
// both sizes are nil.
type Gate struct {
	Metric             string
	Absolute, Relative *float64
	Seeds              int // smallest number of seeds with which a value can be a regression
}

// File is a file or folder that a study names, with the place where it does.
type File struct {
	Path  string // path to open
	Axis  string // path of the trial's parameter that names it, such as "model.checkpoint.path"
	Where *Error // file, line, column and path of the value, without a message
}

// Mistake returns an error about the file, with the place where the study names it.
func (f File) Mistake(msg, hint string) *Error { return f.Where.With(msg, hint) }

// Tagged is a metric of a category, such as alignment.animals, with the place where the study names
// it. The tags of prompts decide which categories there are.
type Tagged struct {
	Metric string
	Where  *Error // without a message
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

// Arm is a row of the ablation table, or one row for each point where it sweeps.
type Arm struct {
	Name   string
	Seeds  []Seed  // the study's seeds, or some of them
	Points []Point // at least one; exactly one, without axes, where the arm sweeps nothing

	Control bool  // the arm checks the study, and is not a method
	Pick    *Pick // nil where all points are reported
}

// Pick is the selection of a point of an arm by its mean of a metric on some seeds. The point
// is reported on others, so that its values are free of the bias of the selection.
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
	Value any    // float64, int64, string or bool
}

// Seed has the seeds of a trial's random numbers: Pretraining for the denoiser, the embedder
// and their data, Feedback for every other stage.
type Seed struct{ Pretraining, Feedback int64 }

// String returns "3" where both numbers are 3, else "1.2" for {pretraining: 1, feedback: 2}.
func (s Seed) String() string {
	p := strconv.FormatInt(s.Pretraining, 10)
	if s.Pretraining == s.Feedback {
		return p
	}
	return p + "." + strconv.FormatInt(s.Feedback, 10)
}

// View is one point of an arm with one seed. Several views may be the same trial.
type View struct {
	Arm   string
	Point []AxisValue
	Trial Trial

	// Rungs are the numbers of steps of the fine-tuning at which the proxy is measured to
	// decide whether the view's row stops; nil where the row cannot stop. Views of one trial
	// have the same rungs.
	Rungs []int
	// Cut is true where the fine-tuning ends at the last of Rungs: the row has stopped there,
	// which Stopped then says, or is not decided yet. Both are false as the study is loaded.
	Cut, Stopped bool
}

// StoppedAt returns the number of steps after which the view's row was stopped, and false if
// it was not.
func (v View) StoppedAt() (int, bool) {
	if !v.Stopped {
		return 0, false
	}
	return v.Rungs[len(v.Rungs)-1], true
}

// String returns "ARM[axis=value,…]@seed", or "ARM@seed" for a point without axes.
func (v View) String() string { return v.Row() + "@" + v.Trial.Seed.String() }

// Row returns the label of the table's row that the view is part of, "ARM[axis=value,…]" or
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
