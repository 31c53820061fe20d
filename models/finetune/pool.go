package finetune

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Source is a set of generated images with their prompts, and what is known of
// each.
type Source struct {
	Images  func(i int, dst []float32) // fills image i in the model's range
	Words   func(i int, dst []float32) // fills the words of image i's prompt
	Prompts []int                      // names each image's prompt; images of one are a group
	Scores  []float32                  // r of each image, in [0, 1]; all 1 without a reward
	Good    []bool                     // each image's label
	Judged  []bool                     // whether there is one: a skipped image has none
	Mix     float64                    // relative weight of one of its images in the draw
}

// Pairs are pretraining image-caption pairs.
type Pairs interface {
	Len() int
	Fill(i int, image, words []float32)
}

// A pool is the images of all sources, end to end.
type pool struct {
	sources []Source
	start   []int     // of each source
	total   float64   // length of all images, each as long as its source's mix weight
	scores  []float32 // of all images
	prompts []int
	good    []bool
	judged  []bool
	groups  map[int][]int // images by prompt
}

func newPool(sources []Source) (*pool, error) {
	p := &pool{sources: sources, groups: map[int][]int{}}
	for k, s := range sources {
		if n := len(s.Scores); n != len(s.Prompts) || n != len(s.Good) || n != len(s.Judged) {
			return nil, fmt.Errorf("finetune: source %d has %d scores, %d prompts and %d labels", k, n, len(s.Prompts), len(s.Good))
		}
		p.start = append(p.start, len(p.scores))
		p.total += s.Mix * float64(len(s.Scores))
		p.scores, p.prompts = append(p.scores, s.Scores...), append(p.prompts, s.Prompts...)
		p.good, p.judged = append(p.good, s.Good...), append(p.judged, s.Judged...)
	}
	for i, g := range p.prompts {
		p.groups[g] = append(p.groups[g], i)
	}
	return p, nil
}

// draw is a random image, each source drawn in proportion to its number of
// images times its mix weight.
func (p *pool) draw(r *rand.Rand) int {
	u := p.total * r.Float64()
	for k, s := range p.sources {
		length := s.Mix * float64(len(s.Scores))
		if u < length || k == len(p.sources)-1 {
			return p.start[k] + min(int(u/s.Mix), len(s.Scores)-1)
		}
		u -= length
	}
	panic(fmt.Errorf("finetune: no source to draw from"))
}

// of is the source and the number in it of image i.
func (p *pool) of(i int) (Source, int) {
	k := len(p.start) - 1
	for p.start[k] > i {
		k--
	}
	return p.sources[k], i - p.start[k]
}

// from draws one of the given images by their sources' mix weights.
func (p *pool) from(r *rand.Rand, images []int) int {
	var total float64
	for _, i := range images {
		s, _ := p.of(i)
		total += s.Mix
	}
	u := total * r.Float64()
	for _, i := range images {
		s, _ := p.of(i)
		if u < s.Mix {
			return i
		}
		u -= s.Mix
	}
	return images[len(images)-1]
}

// split are the labelled images, good ones first; only of prompts that have
// both where contested is true.
func (p *pool) split(contested bool) (good, bad map[int][]int) {
	good, bad = map[int][]int{}, map[int][]int{}
	for i, ok := range p.judged {
		switch {
		case !ok:
		case p.good[i]:
			good[p.prompts[i]] = append(good[p.prompts[i]], i)
		default:
			bad[p.prompts[i]] = append(bad[p.prompts[i]], i)
		}
	}
	if contested {
		for g := range good {
			if len(bad[g]) == 0 {
				delete(good, g)
			}
		}
		for g := range bad {
			if len(good[g]) == 0 {
				delete(bad, g)
			}
		}
	}
	return good, bad
}

// flat are all images of all prompts, in order.
func flat(byPrompt map[int][]int) []int {
	var all []int
	for _, images := range byPrompt {
		all = append(all, images...)
	}
	slices.Sort(all)
	return all
}
