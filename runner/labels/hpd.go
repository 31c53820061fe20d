package labels

import (
	"encoding/json"
	"fmt"

	"ablate/runner/rows"
)

// hpdv2Train is train.json of HPDv2 (Wu et al. 2023; tgxs002/HPSv2, README.md, "Human Preference
// Dataset v2"; Apache-2.0): pairs, with 1 for the image that is preferred.
var hpdv2Train = layout{
	columns: []string{"human_preference", "prompt", "file_path"}, more: []string{"user_hash"},
	take: func(r *reader, w row) *rows.Wrong {
		images, bad := list[string]("file_path", w.get("file_path"))
		if bad != nil {
			return bad
		}
		says, bad := list[int]("human_preference", w.get("human_preference"))
		if bad != nil {
			return bad
		}
		if len(images) != 2 || len(says) != 2 || says[0]+says[1] != 1 || says[0]*says[1] != 0 {
			return &rows.Wrong{What: fmt.Sprintf("human_preference is %v, of %d images", says, len(images)), Allowed: "[1, 0] or [0, 1], of two images", Do: "correct it"}
		}
		r.Pairs = append(r.Pairs, Pair{Prompt: w.get("prompt"), A: images[0], B: images[1], Value: float64(says[0]), Rater: w.get("user_hash"), Split: "train"})
		return nil
	},
}

// hpdv2Test is test.json of HPDv2: ranks of several images, of which the lowest is the best
// (hpsv2/evaluation.py compares them with the places of the images by score). There are those of
// each rater, and the mean ranking, which is read only where the raters' are missing. Versions of
// the README call the raters' list raw_annotation and raw_annotations.
var hpdv2Test = layout{
	columns: []string{"prompt", "image_path", "rank"}, more: []string{"raw_annotations", "raw_annotation"},
	take: func(r *reader, w row) *rows.Wrong {
		x := ranked{pair: Pair{Prompt: w.get("prompt"), Split: "test"}}
		var bad *rows.Wrong
		if x.images, bad = list[string]("image_path", w.get("image_path")); bad != nil {
			return bad
		}
		name := "raw_annotations"
		if w.get(name) == "" {
			name = "raw_annotation"
		}
		if w.get(name) == "" || w.get(name) == "[]" {
			if x.ranks, bad = list[float64]("rank", w.get("rank")); bad != nil {
				return bad
			}
			return r.add(x)
		}
		raters, bad := list[struct {
			Rank json.RawMessage `json:"rank"`
			User string          `json:"user_hash"`
		}](name, w.get(name))
		if bad != nil {
			return bad
		}
		for _, one := range raters {
			if x.ranks, bad = list[float64]("the rank of a rater", string(one.Rank)); bad != nil {
				return bad
			}
			x.pair.Rater = one.User
			if bad := r.add(x); bad != nil {
				return bad
			}
		}
		return nil
	},
}

// hpdv3 are all.json, train.json and test.json of HPDv3 (Ma et al. 2025; MizzenAI/HPSv3,
// README.md, "Pairwise Training Data Format"; MIT): path1 is the preferred image, and choice_dist
// has the votes for path1 and path2, or is missing. confidence is not read.
var hpdv3 = layout{
	columns: []string{"prompt", "path1", "path2"}, more: []string{"choice_dist", "model1", "model2"},
	take: func(r *reader, w row) *rows.Wrong {
		p := Pair{Prompt: w.get("prompt"), A: w.get("path1"), B: w.get("path2"), Value: 1, ModelA: w.get("model1"), ModelB: w.get("model2"), Split: w.split}
		if s := w.get("choice_dist"); s != "" && s != "[]" {
			votes, bad := list[int]("choice_dist", w.get("choice_dist"))
			if bad != nil {
				return bad
			}
			if len(votes) != 2 {
				return &rows.Wrong{What: fmt.Sprintf("choice_dist is %v", votes), Allowed: "the votes for path1 and path2", Do: "correct it"}
			}
			p.VotesA, p.VotesB = votes[0], votes[1]
		}
		r.Pairs = append(r.Pairs, p)
		return nil
	},
}
