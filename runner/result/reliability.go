package result

import (
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/stage"
)

// reliability has the columns of reliability.arrow: for each trial's own learned reward,
// ten bins of its score on images that no training saw.
type reliability struct{ trial, bin, low, high, n, score, labelled, gold *table.Column }

func newReliability(t *table.Table) *reliability {
	share := func(name, unit, doc string) *table.Column {
		return &table.Column{Name: name, Kind: table.Float, Valid: []bool{}, Unit: unit, Doc: doc}
	}
	r := &reliability{
		trial: &table.Column{Name: "trial", Kind: table.String, Doc: trialID}, bin: &table.Column{Name: "bin", Kind: table.Int, Doc: "number of the bin, from 0"},
		low:   &table.Column{Name: "low", Kind: table.Float, Unit: "score", Doc: "lower end of the bin"},
		high:  &table.Column{Name: "high", Kind: table.Float, Unit: "score", Doc: "upper end, which belongs to the next bin (or to the last bin itself)"},
		n:     &table.Column{Name: "n", Kind: table.Int, Unit: "images", Doc: "number of images in the bin, without those that the annotator skipped"},
		score: share("score", "score", "mean score of the bin's images by the trial's own reward"), labelled: share("labelled", "share", "share of the bin's images that the noisy annotator labelled good"),
		gold: share("gold", "share", "share of the bin's images that the gold calls good"),
	}
	t.Columns = []*table.Column{r.trial, r.bin, r.low, r.high, r.n, r.score, r.labelled, r.gold}
	return r
}

func (t *reliability) add(id language.ID, c layout.Chain, found *lookup.Found) error {
	dir, ok := found.Dir(c.Action(layout.Assessment))
	if !ok {
		return nil
	}
	a, err := stage.ReadAssessment(dir)
	if err != nil {
		return err
	}
	for i, b := range a.Bins {
		t.trial.Strings = append(t.trial.Strings, id.String())
		t.bin.Ints, t.n.Ints = append(t.bin.Ints, int64(i)), append(t.n.Ints, int64(b.N))
		t.low.Floats, t.high.Floats = append(t.low.Floats, b.Low), append(t.high.Floats, b.High)
		for _, x := range []struct {
			c *table.Column
			v float64
		}{{t.score, b.Score}, {t.labelled, b.Labelled}, {t.gold, b.Gold}} {
			x.c.Floats, x.c.Valid = append(x.c.Floats, x.v), append(x.c.Valid, b.N > 0)
		}
	}
	return nil
}
