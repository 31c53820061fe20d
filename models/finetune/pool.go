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
	scores  []float32 // of all images
	prompts []int
	good    []bool
	judged  []bool
}

func newPool(sources []Source) (*pool, error) {
	p := &pool{sources: sources}
	for k, s := range sources {
		if n := len(s.Scores); n != len(s.Prompts) || n != len(s.Good) || n != len(s.Judged) {
			return nil, fmt.Errorf("finetune: source %d has %d scores, %d prompts and %d labels", k, n, len(s.Prompts), len(s.Good))
		}
		p.start = append(p.start, len(p.scores))
		p.scores, p.prompts = append(p.scores, s.Scores...), append(p.prompts, s.Prompts...)
		p.good, p.judged = append(p.good, s.Good...), append(p.judged, s.Judged...)
	}
	return p, nil
}

// of is the source and the number in it of image i.
func (p *pool) of(i int) (*Source, int) {
	k := len(p.start) - 1
	for p.start[k] > i {
		k--
	}
	return &p.sources[k], i - p.start[k]
}

// where are the numbers of the images that hold, in order.
func (p *pool) where(hold func(i int) bool) []int {
	var out []int
	for i := range p.scores {
		if hold(i) {
			out = append(out, i)
		}
	}
	return out
}

// byPrompt groups images by their prompts, each group to draw from.
func (p *pool) byPrompt(images []int) map[int]urn {
	groups := map[int][]int{}
	for _, i := range images {
		groups[p.prompts[i]] = append(groups[p.prompts[i]], i)
	}
	out := make(map[int]urn, len(groups))
	for g, images := range groups {
		out[g] = p.urn(images)
	}
	return out
}

// An urn holds images to draw from, each as often as its source's mix weight
// says.
type urn struct {
	images []int
	ends   []float64 // of each image, laid end to end, each as long as its weight
}

func (p *pool) urn(images []int) urn {
	u := urn{images: images, ends: make([]float64, len(images))}
	var end float64
	for k, i := range images {
		s, _ := p.of(i)
		end += s.Mix
		u.ends[k] = end
	}
	return u
}

// length of all images together; 0 of an empty urn.
func (u urn) length() float64 {
	if len(u.ends) == 0 {
		return 0
	}
	return u.ends[len(u.ends)-1]
}

// draw is a random image; it stays in the urn.
func (u urn) draw(r *rand.Rand) int {
	at := u.length() * r.Float64()
	k, exact := slices.BinarySearch(u.ends, at)
	if exact {
		k++ // an image ends where the next begins
	}
	return u.images[min(k, len(u.images)-1)]
}
