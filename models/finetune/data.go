package finetune

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Source is a set of generated images with their prompts, scores and labels. It is plain
// data, so that a training can save it with its state.
type Source struct {
	Images  []float32 // x₀ [n, H, W, C], in the model's range
	Prompts []int     // of each image, an index of the training's prompts; images of one prompt are a group
	Scores  []float32 // r of each image, in [0, 1]; all 1 without a reward
	Good    []bool    // each image's label
	Judged  []bool    // whether the image has a label; a skipped image has none
	Mix     float64   // relative probability that one of its images is drawn
}

// Pairs are pretraining image-caption pairs.
type Pairs interface {
	Len() int
	// Image writes pair i's image in the model's range; Caption is the index of its prompt.
	Image(i int, dst []float32)
	Caption(i int) int
}

// ErrNothing is wrapped by the error of a method that cannot learn from the given images.
var ErrNothing = errors.New("nothing to learn from")

// A Pool has the images of all sources, one source after the other.
type Pool struct {
	Scores  []float32
	Prompts []int
	Good    []bool
	Judged  []bool
	sources []Source
	start   []int // of each source
}

// NewPool joins sources.
func NewPool(sources []Source) (*Pool, error) {
	p := &Pool{sources: sources}
	for k, s := range sources {
		if n := len(s.Scores); n != len(s.Prompts) || n != len(s.Good) || n != len(s.Judged) || n == 0 || len(s.Images)%n != 0 {
			return nil, fmt.Errorf("finetune: source %d has %d values of images, %d scores, %d prompts and %d labels", k, len(s.Images), len(s.Scores), len(s.Prompts), len(s.Good))
		}
		p.start = append(p.start, len(p.Scores))
		p.Scores, p.Prompts = append(p.Scores, s.Scores...), append(p.Prompts, s.Prompts...)
		p.Good, p.Judged = append(p.Good, s.Good...), append(p.Judged, s.Judged...)
	}
	return p, nil
}

// Image is image i.
func (p *Pool) Image(i int) []float32 {
	s, k := p.of(i)
	px := len(s.Images) / len(s.Scores)
	return s.Images[k*px : (k+1)*px]
}

// of returns the source of image i and its index there.
func (p *Pool) of(i int) (*Source, int) {
	k := len(p.start) - 1
	for p.start[k] > i {
		k--
	}
	return &p.sources[k], i - p.start[k]
}

// mix is the relative probability that image i is drawn.
func (p *Pool) mix(i int) float64 {
	s, _ := p.of(i)
	return s.Mix
}

// All are the indices of all images.
func (p *Pool) All() []int { return p.Where(func(int) bool { return true }) }

// Where returns the indices of the images for which keep is true, in order.
func (p *Pool) Where(keep func(i int) bool) []int {
	var out []int
	for i := range p.Scores {
		if keep(i) {
			out = append(out, i)
		}
	}
	return out
}

// Labelled returns the indices of the images labelled good, or bad.
func (p *Pool) Labelled(good bool) []int {
	return p.Where(func(i int) bool { return p.Judged[i] && p.Good[i] == good })
}

// ByPrompt makes a sampler of the images of each prompt.
func (p *Pool) ByPrompt(images []int) map[int]Sampler {
	groups := map[int][]int{}
	for _, i := range images {
		groups[p.Prompts[i]] = append(groups[p.Prompts[i]], i)
	}
	out := make(map[int]Sampler, len(groups))
	for g, images := range groups {
		out[g] = p.Sampler(images)
	}
	return out
}

// A Sampler draws images with replacement, each with a probability in proportion to its
// source's mix weight.
type Sampler struct {
	images []int
	ends   []float64 // cumulative weights
}

// Sampler returns a sampler of images.
func (p *Pool) Sampler(images []int) Sampler {
	s := Sampler{images: images, ends: make([]float64, len(images))}
	var end float64
	for k, i := range images {
		end += p.mix(i)
		s.ends[k] = end
	}
	return s
}

// Empty reports whether nothing can be drawn.
func (s Sampler) Empty() bool { return len(s.ends) == 0 || s.ends[len(s.ends)-1] == 0 }

// Draw returns the index of a random image.
func (s Sampler) Draw(r *rand.Rand) int {
	at := s.ends[len(s.ends)-1] * r.Float64()
	k, exact := slices.BinarySearch(s.ends, at)
	if exact {
		k++ // the interval of an image excludes its end
	}
	return s.images[min(k, len(s.images)-1)]
}

// DrawBatch returns the indices of n random images.
func (s Sampler) DrawBatch(r *rand.Rand, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = s.Draw(r)
	}
	return out
}
