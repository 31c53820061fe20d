package labels

import (
	"fmt"

	"ablate/runner/rows"
)

// pickAPic are pairs of Pick-a-Pic v1 and v2 (Kirstain et al. 2023; the cards of the sets list
// the columns; no licence), with and without images, whose bytes are not read. label_0 and label_1
// are 1 and 0, 0 and 1, or .5 and .5. Where has_label is false, nobody has compared the images.
var pickAPic = layout{
	columns: []string{"caption", "image_0_uid", "image_1_uid", "label_0", "label_1"},
	more:    []string{"has_label", "user_id", "model_0", "model_1", "created_at"},
	take: func(r *reader, w row) *rows.Wrong {
		if s := w.get("has_label"); s == "false" || s == "False" {
			r.Unlabeled++
			return nil
		}
		p := Pair{Prompt: w.get("caption"), A: w.get("image_0_uid"), B: w.get("image_1_uid"), Rater: w.get("user_id"), ModelA: w.get("model_0"), ModelB: w.get("model_1"), Split: w.split}
		var bad *rows.Wrong
		if p.Time, bad = w.time("created_at"); bad != nil {
			return bad
		}
		if p.Value, bad = w.number("label_0"); bad != nil {
			return bad
		}
		other, bad := w.number("label_1")
		if bad != nil {
			return bad
		}
		if p.Value+other != 1 {
			return &rows.Wrong{What: fmt.Sprintf("label_0 is %v, and label_1 %v", p.Value, other), Allowed: "1 and 0, 0 and 1, or 0.5 and 0.5", Do: "correct them"}
		}
		r.Pairs = append(r.Pairs, p)
		return nil
	},
}
