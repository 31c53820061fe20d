package labels

import (
	"fmt"
	"slices"

	"ablate/runner/rows"
)

// imageRewardRanking is data/test.json of ImageReward (Xu et al. 2023; THUDM/ImageReward;
// Apache-2.0): ranks of the images of a prompt, with ties. The lowest is the best, as test.py
// there compares them with scores. The raters are not named.
var imageRewardRanking = layout{
	columns: []string{"prompt", "generations", "ranking"},
	take: func(r *reader, w row) *rows.Wrong {
		x := ranked{pair: Pair{Prompt: w.get("prompt"), Split: w.split}}
		var bad *rows.Wrong
		if x.images, bad = list[string]("generations", w.get("generations")); bad != nil {
			return bad
		}
		if x.ranks, bad = list[float64]("ranking", w.get("ranking")); bad != nil {
			return bad
		}
		return r.add(x)
	},
}

// imageRewardRows are the metadata of ImageRewardDB (Parquet, or JSON as in train_01.json), a row
// for each image of a prompt, with its rank among them. Ratings from 1 to 7 are not read.
var imageRewardRows = layout{
	columns: []string{"image_path", "prompt_id", "prompt", "rank"},
	take: func(r *reader, w row) *rows.Wrong {
		rank, bad := w.number("rank")
		if bad != nil {
			return bad
		}
		prompt, image := w.get("prompt"), w.get("image_path")
		if bad := r.names(&prompt, name{"image", &image, true}); bad != nil {
			return bad
		}
		id := w.get("prompt_id")
		x := r.group[id]
		switch {
		case id == "":
			return &rows.Wrong{What: "prompt_id is empty", Allowed: "a name that the images of a prompt share", Do: "fill it in"}
		case x == nil:
			x = &ranked{pair: Pair{Prompt: prompt, Split: w.split, Source: w.source}}
			r.group[id] = x
			r.groups = append(r.groups, x)
		case x.pair.Prompt != prompt:
			return &rows.Wrong{What: fmt.Sprintf("prompt_id %.40q is of two prompts", id), Allowed: "one prompt for each prompt_id", Do: "correct it"}
		case slices.Contains(x.images, image):
			return &rows.Wrong{What: fmt.Sprintf("the image %.80q is in it before", image), Allowed: "one row for each image", Do: "remove one"}
		case len(x.images) == mostImage:
			return &rows.Wrong{What: fmt.Sprintf("prompt_id %.40q has more than %d images", id, mostImage), Allowed: "fewer", Do: "correct it"}
		}
		x.images, x.ranks = append(x.images, image), append(x.ranks, rank)
		return nil
	},
}

// rank adds the pairs of images that were read in rows of their own. Their source is the first
// of these rows.
func (r *reader) rank() {
	for _, x := range r.groups {
		if len(x.images) == 1 {
			r.Unlabeled++ // an image alone is compared with none
			continue
		}
		_ = r.add(*x) // images were checked when they were read
	}
}
