package stage

import (
	"context"
	"fmt"
	"slices"

	"ablate/runner/world"
)

// Select is the stage of best-of-n sampling: for each prompt it keeps the best of n
// images.
const Select Kind = "select"

var selectDef = define(runSelect, Def{
	Kind: Select, Revision: 1,
	Inputs: []Input{{Name: ImagesInput, Many: true}, {Name: ScoresInput, Many: true}},
	Files:  required(imagesFile),
})

// runSelect keeps the image with the highest score; of several, the first.
func runSelect(_ context.Context, _ *Env, t Task, _ NoParams, _ Progress) error {
	var best ImageSet
	var top []float32
	for k := 0; t.has(Numbered(ImagesInput, k)); k++ {
		images, err := Only(ReadImages(t.in(Numbered(ImagesInput, k))))
		if err != nil {
			return err
		}
		scores, err := Only(ReadScores(t.in(Numbered(ScoresInput, k))))
		if err != nil {
			return err
		}
		if len(images.Images) != len(scores.Scores)*world.Pixels || k > 0 && len(scores.Scores) != len(top) {
			return fmt.Errorf("select: candidate %d has %d images and %d scores", k, len(images.Images)/world.Pixels, len(scores.Scores))
		}
		if k == 0 {
			best, top = ImageSet{Images: slices.Clone(images.Images)}, slices.Clone(scores.Scores)
			continue
		}
		for i, s := range scores.Scores {
			if s > top[i] {
				top[i] = s
				copy(best.Images[i*world.Pixels:(i+1)*world.Pixels], images.Images[i*world.Pixels:])
			}
		}
	}
	return writeImages(t.Out, []ImageSet{best})
}
