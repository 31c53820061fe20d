package stage

import "ablate/runner/world"

// DataParams are the parameters of the pairs of images and captions for pretraining.
type DataParams struct {
	Pairs    int            `json:"pairs"`
	Captions world.Captions `json:"captions"`
}

// pairs has images with their captions.
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

// numberedPairs are pairs whose captions are numbers in a promptTable.
type numberedPairs struct {
	*pairs
	numbers []int
	encoded []float32 // input of the text encoder for each prompt of the table; nil in a fine-tuning
}

func (p *pairs) numbered(t *promptTable) numberedPairs {
	n := numberedPairs{pairs: p, numbers: make([]int, len(p.captions))}
	for i, c := range p.captions {
		n.numbers[i] = t.add(c)
	}
	return n
}

func (p numberedPairs) Caption(i int) int { return p.numbers[i] }

// Fill copies pair i into a batch of a training from scratch.
func (p numberedPairs) Fill(i int, image, text []float32) {
	p.Image(i, image)
	n := world.Vocabulary()
	copy(text, p.encoded[p.numbers[i]*n:(p.numbers[i]+1)*n])
}

// encodedPairs returns pairs with the input of the text encoder for their captions.
func (e *Env) encodedPairs(d DataParams, seed int64) (numberedPairs, error) {
	table := newPromptTable()
	n := e.pairs(d, seed).numbered(table)
	var err error
	n.encoded, err = e.textInput(table.texts)
	return n, err
}
