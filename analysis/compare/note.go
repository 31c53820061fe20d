package compare

import (
	"slices"
	"strconv"
	"strings"
)

// Kind is the subject of a note.
type Kind string

// The kinds of notes, with the fields of Note that each uses.
const (
	Control      Kind = "control"      // the training weights were the verdicts of the gold judge
	Declared     Kind = "declared"     // the study declares the row a control
	SelectedOn   Kind = "selected on"  // the images were selected by this score, which is biased upwards
	Pending      Kind = "pending"      // some seeds have no result yet
	NoValue      Kind = "no value"     // N of Of images have no value, because an engine failed for them
	Overlapping  Kind = "overlap"      // N of Of prompts of the evaluation are also prompts or captions of a training
	Rewarding    Kind = "also reward"  // the value is by the judge Names[0], which is also the row's reward
	SameWeights  Kind = "same weights" // the gold reads the file Names[0], which the row's reward reads, too
	Unseeded     Kind = "unseeded"     // the verb Names[1] of the engine Names[0] has no seed
	Resumed      Kind = "resumed"      // a training by the engine Names[0] went on from a saved state, which the engine does only approximately
	Moved        Kind = "moved"        // a training by the engine Names[0] went on with other packages or hardware, as Names[1] says
	Undefined    Kind = "undefined"    // N of Of seeds have a value, and the metric is not defined for the others
	Diverged     Kind = "diverged"     // N of Of seeds have a value, and the trainings of the others diverged
	Damaged      Kind = "damaged"      // the result of the seed Names[0] is damaged in the store
	Unequal      Kind = "unequal"      // metrics Names depend on the number of samples, which is N and Of
	Constant     Kind = "constant"     // all seeds have the same value
	NoSamples    Kind = "no samples"   // the values by prompt are missing
	FewPrompts   Kind = "few prompts"  // an effective number of prompts of N (rounded down), too small for an interval
	Outlier      Kind = "outlier"      // the seed Names[0] is an outlier (Grubbs' test)
	FewPairs     Kind = "few pairs"    // N pairs: the p value of a sign test cannot fall below Share
	FewSeeds     Kind = "few seeds"    // too few seeds: intervals are over Names[0], for these seeds only
	NoSpread     Kind = "no spread"    // with fewer than three seeds, metrics of whole sets of images have no interval
	Absent       Kind = "absent"       // a cell has no result
	Environments Kind = "environments" // the rows were computed in N environments
	Mixed        Kind = "mixed"        // results of the engine Names[0] were made with N sources, sets of packages or kinds of hardware, as Names[1] says
	Unprobed     Kind = "unprobed"     // the engine Names[0] was never probed; Names[1] is what it promises
	Refuted      Kind = "refuted"      // probes of the engine Names[0] found the promises Names[1:] broken
	ByPrompt     Kind = "by prompt"    // images by the engines Names do not begin with the same noise
	Judged       Kind = "judged"       // the gold is the column Names[1] of the engine Names[0]
	Graded       Kind = "graded"       // the gold is the column Names[1] of the engine Names[0], which gives numbers
	Beside       Kind = "judgement"    // the judge Names[0], beside the gold, is the column Names[2] of the engine Names[1]
	Labelled     Kind = "labelled"     // labels for rewards are the gold's verdicts with errors
	Features     Kind = "features"     // fidelity is measured on features by the engine Names[0], with the parameters and facts Names[2:], against N images of the folder Names[1]
	Computed     Kind = "computed by"  // the engine Names[0] is the program Names[1], with its files' digests Names[2] and the environment Names[3]
	SameParser   Kind = "same parser"  // the annotator and the gold judge use the same parser
	ImportedFrom Kind = "imported"     // the runs were computed by other tools; Names are their files
	Guessed      Kind = "guessed"      // ranges or directions of the metrics Names were guessed, because they are not declared
	Confounded   Kind = "confounded"   // rows of the arms Names differ from the reference in more than one factor
	PickedOn     Kind = "picked"       // the row Names[0] is the point Names[1], selected by the metric Names[2] on the seeds Names[3:]
	NoPick       Kind = "no pick"      // no point of the arm Names[0] is selected yet, because some have no result
	Looked       Kind = "looks"        // the study is sequential, with looks at the numbers of seeds Names
	Unsettled    Kind = "unsettled"    // more seeds may settle the comparisons of the rows Names
	StoppedEarly Kind = "stopped"      // N of Of rows were stopped early, by their proxy
	Moderated    Kind = "moderated"    // standard deviations of differences are moderated over rows
)

// Note is a caveat on a value or on the whole table.
type Note struct {
	Kind  Kind     `json:"kind"`
	N     int      `json:"n,omitempty"`
	Of    int      `json:"of,omitempty"`
	Share float64  `json:"share,omitempty"`
	Names []string `json:"names,omitempty"`
}

// Single reports whether a note is about single values. Other notes are about the whole table,
// or about every value of a kind, as FewPairs is.
func (n Note) Single() bool {
	switch n.Kind {
	case Control, Declared, SelectedOn, Pending, NoValue, Overlapping, Rewarding, SameWeights, Unseeded, Resumed, Moved, Undefined, Diverged, Damaged, Unequal, Constant, NoSamples, FewPrompts, Outlier:
		return true
	}
	return false
}

func (n Note) equal(o Note) bool {
	return n.Kind == o.Kind && n.N == o.N && n.Of == o.Of && n.Share == o.Share && slices.Equal(n.Names, o.Names)
}

// note adds a note, if the table does not have it yet, and returns its index.
func (b *builder) note(n Note) int {
	if i := slices.IndexFunc(b.t.Notes, n.equal); i >= 0 {
		return i
	}
	b.t.Notes = append(b.t.Notes, n)
	return len(b.t.Notes) - 1
}

// caveats returns the notes on every value of a metric of a row.
func (b *builder) caveats(m Metric, r *grouped) []int {
	var out []int
	if b.chosenOn(m, r.views) {
		out = append(out, b.note(Note{Kind: SelectedOn}))
	}
	switch {
	case b.byGold(r.views):
		out = append(out, b.note(Note{Kind: Control}))
	case r.control:
		out = append(out, b.note(Note{Kind: Declared}))
	}
	for _, v := range r.views {
		for _, n := range b.o.Marks[b.columns["view"].Strings[v]] {
			if n.Kind == Rewarding && m.Name != judged+n.Names[0] {
				continue // other judges are independent
			}
			if n.Kind == SameWeights && !strings.HasPrefix(m.Name, "alignment") {
				continue // the gold judges alignment only
			}
			if i := b.note(n); !slices.Contains(out, i) {
				out = append(out, i)
			}
		}
	}
	if b.samples == nil {
		return out
	}
	failed := Note{Kind: NoValue}
	for _, v := range r.views {
		n, of := b.samples.Missing(b.trial(v), m.Name)
		failed.N, failed.Of = failed.N+n, failed.Of+of
	}
	if failed.N > 0 && failed.N < failed.Of {
		out = append(out, b.note(failed))
	}
	return out
}

// byGold reports whether a row is trained or selected with the verdicts of the gold judge.
func (b *builder) byGold(views []int) bool {
	loss := b.columns["reward.loss"]
	return loss != nil && loss.Value(views[0]) == "oracle"
}

// chosenOn reports whether the metric is the proxy and the row's images were selected (best of
// n) by a learned reward.
func (b *builder) chosenOn(m Metric, views []int) bool {
	c := b.columns["evaluate.bestOf"]
	if m.Name != "proxy" || c == nil || b.columns["reward.loss"] == nil && b.columns["reward.program.engine"] == nil {
		return false
	}
	n, _ := c.Value(views[0]).(int64)
	return n > 1 && !b.byGold(views)
}

// general adds the notes on the whole table.
func (b *builder) general() {
	if b.looks != nil {
		n := Note{Kind: Looked}
		for _, at := range b.o.Looks {
			n.Names = append(n.Names, strconv.Itoa(at))
		}
		b.note(n)
		if open := b.t.Unsettled(nil); open != nil {
			b.note(Note{Kind: Unsettled, Names: open})
		}
	}
	stopped := 0
	for _, r := range b.t.Rows {
		if r.Stopped != nil {
			stopped++
		}
	}
	if stopped > 0 {
		b.note(Note{Kind: StoppedEarly, N: stopped, Of: len(b.t.Rows)})
	}
	if b.fewSeeds != "" {
		b.note(Note{Kind: FewSeeds, Names: []string{b.fewSeeds}})
	}
	if b.noSpread {
		b.note(Note{Kind: NoSpread})
	}
	if b.absent {
		b.note(Note{Kind: Absent})
	}
	if n := b.environments(); n > 1 {
		b.note(Note{Kind: Environments, N: n})
	}
}
