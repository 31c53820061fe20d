package result

import (
	"math"
	"slices"

	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/stage"
)

// Sets of images in samples.arrow: images for the study's prompts, and images for
// captions of real images.
const (
	Alignment = "alignment"
	Fidelity  = "fidelity"
)

// samples are the columns of samples.arrow.
type samples struct {
	trial, set, index, prompt, category, seen, verdict, read, proxy, embedder *table.Column

	judges []*table.Column // beside the gold, in the study's order

	gold  *table.Column     // nil where all golds give verdicts
	texts map[string]string // each text of a row once: there are few, and many rows
}

// newSamples adds the columns to a table. numbers says that the gold of some trials gives numbers.
func newSamples(t *table.Table, numbers bool, judges []language.Judge) *samples {
	s := &samples{
		texts:    map[string]string{},
		trial:    &table.Column{Name: "trial", Kind: table.String, Doc: trialID},
		set:      &table.Column{Name: "set", Kind: table.String, Doc: "alignment: images for the study's prompts; fidelity: images for captions of real images, which are not judged"},
		index:    &table.Column{Name: "index", Kind: table.Int, Doc: "number of the image in its set, from 0; images of one index and seed have the same prompt and initial noise in every trial"},
		prompt:   &table.Column{Name: "prompt", Kind: table.String, Doc: "prompt of the image"},
		category: &table.Column{Name: "category", Kind: table.String, Valid: []bool{}, Doc: "category of the prompt"},
		seen:     &table.Column{Name: "seen", Kind: table.Bool, Valid: []bool{}, Doc: "feedback may use the prompt; otherwise it is held out"},
		verdict:  &table.Column{Name: "verdict", Kind: table.String, Valid: []bool{}, Doc: "verdict of the gold judge: good, bad or skip; null where an engine gave none, and read says why"},
		read:     &table.Column{Name: "read", Kind: table.String, Valid: []bool{}, Doc: "what the gold judge, a parser, recognised in the image"},
		proxy:    &table.Column{Name: "proxy", Kind: table.Float, Valid: []bool{}, Unit: "score", Doc: "score by the base trial's learned reward"},
		embedder: &table.Column{Name: "embedder", Kind: table.Float, Valid: []bool{}, Unit: "cosine", Doc: "cosine of image and prompt by the base trial's frozen embedder"},
	}
	t.Columns = []*table.Column{s.trial, s.set, s.index, s.prompt, s.category, s.seen, s.verdict, s.read, s.proxy, s.embedder}
	if numbers {
		s.gold = &table.Column{Name: "gold", Kind: table.Float, Valid: []bool{}, Unit: "score", Doc: "number from 0 to 1 by the gold judge; null where it gives verdicts, or gave none, and read says why"}
		t.Columns = slices.Insert(t.Columns, slices.Index(t.Columns, s.read), s.gold)
	}
	for _, j := range judges {
		c := &table.Column{Name: j.Metric(), Kind: table.Float, Valid: []bool{}, Unit: "score", Doc: "1 where judge " + j.Name + " calls the image good, else 0; null where an engine gave no verdict"}
		if j.Number {
			c.Doc = "number from 0 to 1 by judge " + j.Name + "; null where an engine gave none"
		}
		s.judges = append(s.judges, c)
	}
	t.Columns = append(t.Columns, s.judges...)
	return s
}

func (s *samples) add(trial string, c layout.Chain, r *reader) error {
	prompts, verdicts, ok, err := r.judged(c)
	if err != nil {
		return err
	}
	scores, _, err := one(r, c.Action(layout.AlignmentScores), stage.ReadScores)
	if err != nil {
		return err
	}
	judged, err := r.beside(c)
	if err != nil {
		return err
	}
	if ok {
		var numbers []float64
		if verdicts.Numbers != nil {
			numbers, verdicts.Labels = verdicts.Values(), make([]string, len(prompts))
		}
		for i, p := range prompts {
			s.row(trial, Alignment, p, verdicts.Labels[i], verdicts.Read[i])
			score(s.gold, numbers, i)
			score(s.proxy, scores.Scores, i)
			score(s.embedder, scores.Cosines, i)
			for k, c := range s.judges {
				var values []float64
				if k < len(judged) {
					values = judged[k]
				}
				score(c, values, i)
			}
		}
	}
	if _, ok := r.found.Dir(c.Action(layout.FidelityImages)); !ok {
		return nil
	}
	captions, err := r.list(c.Action(layout.FidelityPrompts))
	for i, p := range captions {
		s.row(trial, Fidelity, p, "", "")
		for _, c := range append([]*table.Column{s.gold, s.proxy, s.embedder}, s.judges...) {
			score[float32](c, nil, i)
		}
	}
	return err
}

// row adds an image. An image of a caption has no category and no verdict.
func (s *samples) row(trial, set string, p stage.Prompt, verdict, read string) {
	s.trial.Strings = append(s.trial.Strings, trial)
	s.set.Strings = append(s.set.Strings, set)
	s.index.Ints = append(s.index.Ints, int64(p.Index))
	s.prompt.Strings = append(s.prompt.Strings, p.Prompt)
	judged := set == Alignment
	for _, x := range []struct {
		c *table.Column
		v string
	}{{s.category, p.Category}, {s.verdict, verdict}, {s.read, read}} {
		x.c.Strings, x.c.Valid = append(x.c.Strings, s.once(x.v)), append(x.c.Valid, judged && (x.c != s.verdict || x.v != ""))
	}
	s.seen.Bools, s.seen.Valid = append(s.seen.Bools, p.Split == stage.Seen), append(s.seen.Valid, judged)
}

// once returns an equal text that other rows have too.
func (s *samples) once(text string) string {
	if t, ok := s.texts[text]; ok {
		return t
	}
	s.texts[text] = text
	return text
}

// score adds the score of image i to a column, which may be nil, or null if there are no scores.
func score[F float32 | float64](c *table.Column, scores []F, i int) {
	if c == nil {
		return
	}
	x, ok := 0.0, i < len(scores)
	if ok {
		x = float64(scores[i])
	}
	if ok = ok && !math.IsNaN(x); !ok { // an engine failed for the image
		x = 0
	}
	c.Floats, c.Valid = append(c.Floats, x), append(c.Valid, ok)
}
