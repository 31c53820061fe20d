package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"ablate/models/checkpoint"
	"ablate/runner/world"
)

// Select is the stage of best-of-n sampling: for each prompt it keeps the best of n
// images.
const Select Kind = "select"

var selectDef = define(runSelect, Def{
	Kind: Select, Revision: 1,
	Inputs: []Input{{Name: ImagesInput, Many: true}, {Name: ScoresInput, Many: true}},
	Files:  optional(required(imagesFile, picturesFile, "images/**")...),
})

// SelectParams are the parameters of [Select].
type SelectParams struct {
	Part // of pictures of an engine: the part of the lists of scores that the images are
}

func (SelectParams) memory() float64 { return 0 }
func (SelectParams) cost() float64   { return .1 }

// runSelect keeps the image with the highest score; of several, the first.
func runSelect(_ context.Context, _ *Env, t Task, p SelectParams, _ Progress) error {
	if HasPictures(t.in(Numbered(ImagesInput, 0))) {
		return selectPictures(t, p.Part)
	}
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
	return WriteImages(t.Out, []ImageSet{best})
}

// selectPictures does the same with pictures, which it links, of a part of the candidates.
func selectPictures(t Task, p Part) error {
	var best PictureSet
	var from []string // by row, the artifact of the best picture
	var top []float32
	for k := 0; t.has(Numbered(ImagesInput, k)); k++ {
		dir := t.in(Numbered(ImagesInput, k))
		set, err := Only(ReadPictures(dir))
		if err != nil {
			return err
		}
		all, err := Only(ReadScores(t.in(Numbered(ScoresInput, k))))
		if err != nil {
			return err
		}
		scores, err := of(p, all.Scores)
		if err != nil {
			return err
		}
		if len(set.Pictures) != len(scores) || k > 0 && len(scores) != len(top) {
			return fmt.Errorf("select: candidate %d has %d pictures and %d scores", k, len(set.Pictures), len(scores))
		}
		if k == 0 {
			best, top, from = set, slices.Clone(scores), slices.Repeat([]string{dir}, len(set.Pictures))
			continue
		}
		for i, s := range scores {
			if p := set.Pictures[i]; p.File != "" && (s > top[i] || best.Pictures[i].File == "" || isMissing(top[i]) && !isMissing(s)) {
				best.Pictures[i], top[i], from[i] = p, s, dir
			}
		}
	}
	if err := os.Mkdir(filepath.Join(t.Out, "images"), 0o777); err != nil {
		return err
	}
	for i := range best.Pictures {
		p := &best.Pictures[i]
		if p.File == "" {
			continue
		}
		picture := filepath.Join(from[i], filepath.FromSlash(p.File))
		p.File = fmt.Sprintf("images/%d.png", best.From+i)
		if err := linkFile(picture, filepath.Join(t.Out, filepath.FromSlash(p.File))); err != nil {
			return err
		}
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, picturesFile), []PictureSet{best})
}
