package report

import (
	"context"
	"path/filepath"

	"github.com/rs/zerolog"

	"ablate/reports/format"
	"ablate/reports/page"
	"ablate/runner/people"
	"ablate/runner/result"
)

// compared returns what people have said of pairs of rows whose trials are still the study's. A comparison that cannot be
// read is left out, with a warning.
func compared(ctx context.Context, r *result.Result) (out []page.People) {
	now := map[string]bool{}
	for id := range r.Project.Graph.Chains {
		now[id.String()] = true
	}
	dirs, _ := filepath.Glob(filepath.Join(r.Project.Dir, people.Folder, "*"))
	for _, dir := range dirs {
		c, err := people.Open(dir, false)
		if err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Msg("a comparison by people is left out")
			continue
		}
		o := c.Outcome()
		if err := c.Close(); err != nil || len(o.Results) == 0 || !current(c, now) {
			continue
		}
		p := page.People{Title: o.Sides[0] + " against " + o.Sides[1], Done: o.Done, Of: o.Of, Raters: len(o.Raters), Prompts: o.Prompts}
		for _, x := range o.Results {
			p.Rows = append(p.Rows, page.PeopleRow{Question: x.Question, Group: x.Group, Prompts: x.Prompts, Wins: x.Wins, Ties: x.Ties, Losses: x.Losses,
				Share: format.Fixed(x.Share, 2), Low: format.Fixed(x.Low, 2), High: format.Fixed(x.High, 2)})
		}
		for _, a := range o.Agree {
			p.Notes = append(p.Notes, a.String())
		}
		out = append(out, p)
	}
	return out
}

// current reports whether all trials of a comparison are the study's.
func current(c *people.Collection, now map[string]bool) bool {
	for _, t := range c.Tasks {
		for _, x := range t.Images {
			if !now[x.Trials[0]] || !now[x.Trials[1]] {
				return false
			}
		}
	}
	return true
}
