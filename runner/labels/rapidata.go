package labels

import (
	"fmt"

	"ablate/runner/rows"
)

// rapidata are Rapidata's preferences (for example Rapidata/700k_Human_Preference_Dataset_
// FLUX_SD3_MJ_DALLE3, whose card lists the columns; CDLA-Permissive-2.0): a Parquet row for each
// pair, with the votes for each image. detailed_results has the country, language and reliability
// of those who voted, who are not named; it is not read, nor are the images' bytes.
var rapidata = layout{
	columns: []string{"prompt", "votes_image1", "votes_image2"},
	more:    []string{"image1_path", "image2_path", "image1.path", "image2.path", "model1", "model2"},
	take: func(r *reader, w row) *rows.Wrong {
		p := Pair{Prompt: w.get("prompt"), A: w.either("image1_path", "image1.path"), B: w.either("image2_path", "image2.path"), ModelA: w.get("model1"), ModelB: w.get("model2"), Split: w.split}
		var bad *rows.Wrong
		if p.VotesA, bad = w.count("votes_image1"); bad != nil {
			return bad
		}
		if p.VotesB, bad = w.count("votes_image2"); bad != nil {
			return bad
		}
		switch {
		case p.VotesA+p.VotesB == 0:
			return &rows.Wrong{What: fmt.Sprintf("the votes are %d and %d", p.VotesA, p.VotesB), Allowed: "one vote or more", Do: "correct them, or remove the row"}
		case p.VotesA > p.VotesB:
			p.Value = 1
		case p.VotesA == p.VotesB:
			p.Value = .5
		}
		r.Pairs = append(r.Pairs, p)
		return nil
	},
}

// either returns the first of some cells that is not empty.
func (w row) either(names ...string) string {
	for _, n := range names {
		if s := w.get(n); s != "" {
			return s
		}
	}
	return ""
}
