package result

import (
	"strings"

	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/stage"
)

// labels are the columns of labels.arrow.
type labels struct{ pretraining, feedback, artifact, index, prompt, annotator, label *table.Column }

func newLabels(t *table.Table) *labels {
	l := &labels{
		pretraining: &table.Column{Name: "seed.pretraining", Kind: table.Int, Doc: seedPretraining}, feedback: &table.Column{Name: "seed.feedback", Kind: table.Int, Doc: seedFeedback},
		artifact:  &table.Column{Name: "artifact", Kind: table.String, Doc: "id of the set of labels, as artifact.label in trials.arrow; trials may share a set"},
		index:     &table.Column{Name: "index", Kind: table.Int, Doc: "number of the image in its set, from 0"},
		prompt:    &table.Column{Name: "prompt", Kind: table.String, Doc: "prompt of the image"},
		annotator: &table.Column{Name: "annotator", Kind: table.String, Doc: "annotator that labelled the image: parser, or the engine and column of the gold, ENGINE.COLUMN"},
		label:     &table.Column{Name: "label", Kind: table.String, Doc: "good, bad or skip"},
	}
	t.Columns = []*table.Column{l.pretraining, l.feedback, l.artifact, l.index, l.prompt, l.annotator, l.label}
	return l
}

func (t *labels) add(seed language.Seed, c layout.Chain, found *lookup.Found) error {
	dir, ok := found.Dir(c.Action(layout.Labels))
	if !ok {
		return nil
	}
	id := found.ID(c.Action(layout.Labels)).String()
	l, err := stage.ReadLabels(dir)
	if err != nil {
		return err
	}
	for i, label := range l.Labels {
		t.pretraining.Ints = append(t.pretraining.Ints, seed.Pretraining)
		t.feedback.Ints = append(t.feedback.Ints, seed.Feedback)
		t.artifact.Strings = append(t.artifact.Strings, id)
		t.index.Ints = append(t.index.Ints, int64(i))
		t.prompt.Strings = append(t.prompt.Strings, l.Prompts[i])
		t.annotator.Strings = append(t.annotator.Strings, l.Annotator)
		t.label.Strings = append(t.label.Strings, strings.Clone(label))
	}
	return nil
}
