package result

import (
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/stage"
)

// samples are the columns of samples.arrow.
type samples struct{ trial, set, index, prompt, category, seen, verdict, read, proxy, embedder *table.Column }

func newSamples(t *table.Table) *samples {
	s := &samples{
		trial: &table.Column{Name: "trial", Kind: table.String}, set: &table.Column{Name: "set", Kind: table.String, Doc: "alignment or fidelity"},
		index: &table.Column{Name: "index", Kind: table.Int}, prompt: &table.Column{Name: "prompt", Kind: table.String},
		category: &table.Column{Name: "category", Kind: table.String, Valid: []bool{}}, seen: &table.Column{Name: "seen", Kind: table.Bool, Valid: []bool{}},
		verdict:  &table.Column{Name: "verdict", Kind: table.String, Valid: []bool{}, Doc: "the gold's: good, bad or skip"},
		read:     &table.Column{Name: "read", Kind: table.String, Valid: []bool{}, Doc: "what the parser read"},
		proxy:    &table.Column{Name: "proxy", Kind: table.Float, Valid: []bool{}, Unit: "score", Doc: "by the base trial's learned reward"},
		embedder: &table.Column{Name: "embedder", Kind: table.Float, Valid: []bool{}, Unit: "cosine", Doc: "of image and prompt, by the base trial's frozen embedder"},
	}
	t.Columns = []*table.Column{s.trial, s.set, s.index, s.prompt, s.category, s.seen, s.verdict, s.read, s.proxy, s.embedder}
	return s
}

func (s *samples) add(id language.ID, c layout.Chain, found *lookup.Found) error {
	dir, ok := found.Dir(c.Action(layout.Evaluate))
	if !ok {
		return nil
	}
	rows, err := stage.ReadSamples(dir)
	if err != nil {
		return err
	}
	var scores, cosines []float32
	if dir, ok := found.Dir(c.Action(layout.Proxy)); ok {
		if scores, err = stage.ReadScores(dir); err != nil {
			return err
		}
		if cosines, err = stage.ReadCosines(dir); err != nil {
			return err
		}
	}
	for _, r := range rows {
		s.trial.Strings = append(s.trial.Strings, id.String())
		s.set.Strings = append(s.set.Strings, r.Set)
		s.index.Ints = append(s.index.Ints, int64(r.Index))
		s.prompt.Strings = append(s.prompt.Strings, r.Prompt)
		judged := r.Set == stage.Alignment
		for _, x := range []struct {
			c *table.Column
			v string
		}{{s.category, r.Category}, {s.verdict, r.Verdict}, {s.read, r.Read}} {
			x.c.Strings, x.c.Valid = append(x.c.Strings, x.v), append(x.c.Valid, judged)
		}
		s.seen.Bools, s.seen.Valid = append(s.seen.Bools, r.Seen), append(s.seen.Valid, judged)
		for _, x := range []struct {
			c      *table.Column
			scores []float32
		}{{s.proxy, scores}, {s.embedder, cosines}} {
			score, scored := 0.0, judged && r.Index < len(x.scores)
			if scored {
				score = float64(x.scores[r.Index])
			}
			x.c.Floats, x.c.Valid = append(x.c.Floats, score), append(x.c.Valid, scored)
		}
	}
	return nil
}
