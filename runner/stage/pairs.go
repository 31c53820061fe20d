package stage

import "ablate/runner/world"

// DataParams are the pairs of images and captions to pretrain on.
type DataParams struct {
	Pairs    int            `json:"pairs"`
	Captions world.Captions `json:"captions"`
}

// pairs are images with their captions.
type pairs struct {
	images   []uint8
	captions []string
	rows     []float32 // the text encoders' input of each caption
}

func (e *Env) pairs(d DataParams, seed int64) (*pairs, error) {
	p := &pairs{}
	p.images, p.captions = e.world.Images.Pairs(seed, d.Pairs, d.Captions)
	var err error
	p.rows, err = e.rows(p.captions)
	return p, err
}

func (p *pairs) Len() int { return len(p.captions) }

func (p *pairs) Fill(i int, image, text []float32) {
	p.Image(i, image)
	n := world.Vocabulary()
	copy(text, p.rows[i*n:(i+1)*n])
}

func (p *pairs) Image(i int, dst []float32) {
	fillModelRange(p.images[i*world.Pixels:(i+1)*world.Pixels], dst)
}

// numberedPairs are pairs whose captions are numbers in a table of prompts.
type numberedPairs struct {
	*pairs
	numbers []int
}

func (p *pairs) numbered(t *promptTable) numberedPairs {
	n := numberedPairs{p, make([]int, len(p.captions))}
	for i, c := range p.captions {
		n.numbers[i] = t.add(c)
	}
	return n
}

func (p numberedPairs) Caption(i int) int { return p.numbers[i] }
