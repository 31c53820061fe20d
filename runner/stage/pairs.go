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
}

func (e *Env) pairs(d DataParams, seed int64) *pairs {
	p := &pairs{}
	p.images, p.captions = e.world.Images.Pairs(seed, d.Pairs, d.Captions)
	return p
}

func (p *pairs) Len() int { return len(p.captions) }

func (p *pairs) Image(i int, dst []float32) {
	fillModelRange(p.images[i*world.Pixels:(i+1)*world.Pixels], dst)
}

// numberedPairs are pairs whose captions are numbers in a table of prompts.
type numberedPairs struct {
	*pairs
	numbers []int
	encoded []float32 // the text encoders' input of each prompt of the table; nil in a fine-tuning
}

func (p *pairs) numbered(t *promptTable) numberedPairs {
	n := numberedPairs{pairs: p, numbers: make([]int, len(p.captions))}
	for i, c := range p.captions {
		n.numbers[i] = t.add(c)
	}
	return n
}

func (p numberedPairs) Caption(i int) int { return p.numbers[i] }

// Fill gives a pair to a training from scratch.
func (p numberedPairs) Fill(i int, image, text []float32) {
	p.Image(i, image)
	n := world.Vocabulary()
	copy(text, p.encoded[p.numbers[i]*n:(p.numbers[i]+1)*n])
}

// encodedPairs are pairs with the text encoders' input of their captions.
func (e *Env) encodedPairs(d DataParams, seed int64) (numberedPairs, error) {
	table := newPromptTable()
	n := e.pairs(d, seed).numbered(table)
	var err error
	n.encoded, err = e.textInput(table.texts)
	return n, err
}
