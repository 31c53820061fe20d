package language

import (
	"fmt"
	"slices"
)

// An Engine is a program that a study names: it loads, samples, trains, scores or embeds in the
// place of native stages (docs/engines.md).
type Engine struct {
	Name      string
	Command   []string // of the program; a relative path with a slash begins at the module's root
	Source    []string // globs of the files that the program is made of, from the module's root
	Container string   // image and digest; empty where the program runs on the machine itself
	Identity  Identity
	Sandbox   string   // "none" or "declared"
	Network   []string // verbs that may use the network inside the sandbox
	Read      []string // paths that it may read inside the sandbox beside its inputs, from the module's root
	Where     *Error   // file, line, column and path, without a message

	Program *Program // what it says of itself; nil until it is described
}

// Identity is what becomes of another source, environment or hardware class of an engine: a "key"
// is part of what identifies an action, a "warn" gives the table a footnote, and a "record" is
// kept.
type Identity struct{ Source, Environment, Hardware string }

// A Program is what an engine says of itself, as far as a study needs to know it.
type Program struct {
	Verbs map[string]*Verb // by name, such as "train"
}

// A Verb is one of an engine's abilities.
type Verb struct {
	Params  []Param          // in the order of the description
	Columns []Column         // what score gives
	Inputs  map[string]Input // roles that train reads
	Format  string           // of the checkpoints that train writes
	Formats []string         // of the checkpoints that sample reads
	Noise   string           // "torch-cpu", or empty where comparisons are paired by prompt only
	Keeps   bool             // train writes checkpoints on its way, for probes
}

// GoldColumn returns the column that judges a trial's images; one without a name where no engine
// does.
func (s *Study) GoldColumn(c Content) Column {
	return s.column(c.Name("evaluate.gold.engine"), c.Name("evaluate.gold.column"))
}

// column returns a column of an engine; one without a name where there is none.
func (s *Study) column(engine, name string) Column {
	for _, e := range s.Engines {
		if e.Name == engine {
			for _, x := range e.Program.Verbs["score"].Columns {
				if x.Name == name {
					return x
				}
			}
		}
	}
	return Column{}
}

// JudgedBy reports whether the gold of some trials gives images numbers, and whether that of others,
// such as the parser, gives verdicts.
func (s *Study) JudgedBy() (numbers, verdicts bool) {
	for _, a := range s.Arms {
		for _, p := range a.Points {
			number := s.GoldColumn(p.Content).Kind == "real"
			numbers, verdicts = numbers || number, verdicts || !number
		}
	}
	return numbers, verdicts
}

// A Param is a parameter of a verb.
type Param struct {
	Path    string            // dotted, below the verb's parameters: "lora.rank"
	Kind    Kind              // Real, Whole, Name or Truth
	Enum    []string          // the allowed names; nil where there is no list
	Absent  map[string]string `json:",omitempty"` // names that are not allowed although one may expect them, with the reason
	Minimum *float64          // nil where there is none
	Maximum *float64
	Above   *float64 // exclusive minimum
	Default any      // float64, int64, string or bool; nil where a study must give the value
	Unit    string
	Doc     string
	Unused  []Condition // all of them make it unused; nil where it is always used
	Record  bool        // by the author's promise, without effect on a result, and so in no key
}

// A Column is a number, or a verdict, that score gives each image.
type Column struct {
	Name   string
	Kind   string    // "real" or "verdict"
	Better string    // "higher" or "lower"
	Range  []float64 // of "real": smallest and largest value; nil where there is none
}

// golds returns why a column of an engine cannot be the gold, and what to do about it.
func (c Column) golds(engine string) (msg, hint string) { return c.judges(engine, "gold", "alignment") }

// judges does the same for a judge of some kind, whose metric is the mean of the column.
func (c Column) judges(engine, kind, metric string) (msg, hint string) {
	switch {
	case c.Kind == "verdict":
	case c.Better == "lower":
		return fmt.Sprintf("%s of engine %s is better when it is lower, and %s, its mean, is better when it is higher", c.Name, engine, metric),
			`name a column that is better when it is higher`
	case !slices.Equal(c.Range, []float64{0, 1}):
		of := "a number of any size"
		if c.Range != nil {
			of = fmt.Sprintf("a number from %v to %v", c.Range[0], c.Range[1])
		}
		return fmt.Sprintf("%s of engine %s is %s, and a %s is a verdict or a number from 0 to 1", c.Name, engine, of, kind),
			`name a column of kind "verdict", or one with "range": [0, 1] in the engine's description`
	}
	return "", ""
}

// rewards returns why a column of an engine cannot be a reward, and what to do about it.
func (c Column) rewards(engine string) (msg, hint string) {
	switch {
	case c.Kind == "verdict":
		return fmt.Sprintf("%s of engine %s is a verdict, and a reward is a number", c.Name, engine), `name a column of kind "real"`
	case c.Better == "lower":
		return fmt.Sprintf("%s of engine %s is better when it is lower, and images with a high reward are preferred", c.Name, engine), "name another column"
	}
	return "", ""
}

// An Input is a role that train reads.
type Input struct {
	Columns []string    // columns of its rows beside the image
	When    []Condition // all of them make it needed; nil where it always is
}

// A Condition holds where a parameter has one of the values, or a number above one.
type Condition struct {
	Path   string // of a parameter of the same verb
	Values []any  // nil where Above decides
	Above  *float64
}
