package stage

import (
	"fmt"

	"ablate/models/random"
	"ablate/models/shapes"
)

// DataParams are the pretraining pairs of the shapes world.
type DataParams struct {
	Pairs    int             `json:"pairs"`
	Captions shapes.Captions `json:"captions"`
}

// pairs are rendered image-caption pairs; a pair depends on the pretraining
// seed and its number alone.
type pairs struct {
	images   []uint8
	captions []shapes.Prompt
}

func newPairs(d DataParams, seed int64) *pairs {
	p := &pairs{images: make([]uint8, d.Pairs*shapes.Pixels), captions: make([]shapes.Prompt, d.Pairs)}
	img := make([]float32, shapes.Pixels)
	for i := range d.Pairs {
		r := random.Stream(seed, "data", "pair", i)
		scene := shapes.NewScene(r, shapes.Prompt{})
		p.captions[i] = d.Captions.Caption(r, scene.Prompt)
		scene.Render(r, img)
		quantize(img, p.images[i*shapes.Pixels:])
	}
	return p
}

func (p *pairs) Len() int { return len(p.captions) }

func (p *pairs) Fill(i int, image, text []float32) {
	p.Image(i, image)
	p.captions[i].Words(text)
}

func (p *pairs) Image(i int, dst []float32) {
	modelRange(p.images[i*shapes.Pixels:(i+1)*shapes.Pixels], dst)
}

func (p *pairs) Caption(i int) int { return p.captions[i].Index() }

// quantize stores values in [0, 1] as bytes; what lies outside is clipped.
func quantize(x []float32, dst []uint8) {
	for i, v := range x {
		dst[i] = uint8(min(max(v, 0), 1)*255 + .5)
	}
}

// modelRange maps bytes to the model's range, -1 to 1.
func modelRange(b []uint8, dst []float32) {
	for i, v := range b {
		dst[i] = float32(v)*(2./255) - 1
	}
}

// unitRange maps bytes to the parser's range, 0 to 1.
func unitRange(b []uint8, dst []float32) {
	for i, v := range b {
		dst[i] = float32(v) / 255
	}
}

// quantizeModel stores a sampler's images, in the model's range, as bytes. Images
// that are not finite are those of a model whose training diverged.
func quantizeModel(x []float32) ([]uint8, error) {
	if i := notFinite(x); i >= 0 {
		return nil, fmt.Errorf("image %d that the model drew has the value %v: the training diverged (a smaller learning rate helps)", i/shapes.Pixels, x[i])
	}
	b := make([]uint8, len(x))
	for i, v := range x {
		b[i] = uint8(min(max((v+1)/2, 0), 1)*255 + .5)
	}
	return b, nil
}

// read parses stored images.
func read(images []uint8) []shapes.Reading {
	out := make([]shapes.Reading, len(images)/shapes.Pixels)
	img := make([]float32, shapes.Pixels)
	for i := range out {
		unitRange(images[i*shapes.Pixels:(i+1)*shapes.Pixels], img)
		out[i] = shapes.Read(img)
	}
	return out
}

// bags lays out the words of prompts for the text encoders.
func bags(prompts []shapes.Prompt) []float32 {
	v := shapes.Vocabulary()
	x := make([]float32, len(prompts)*v)
	for i, p := range prompts {
		p.Words(x[i*v:])
	}
	return x
}

// realCaptions are those of the reference set, a constant of the world: as
// imperfect as the default pretraining captions, whatever a study sweeps.
var realCaptions = shapes.Captions{Count: .4, Colour: .3, Background: .3, Absent: .2}

// realSet renders n images of the reference set with their captions. purpose
// tells independent sets apart; neither is ever trained on.
func realSet(purpose string, n int) ([]uint8, []shapes.Prompt) {
	images, captions := make([]uint8, n*shapes.Pixels), make([]shapes.Prompt, n)
	img := make([]float32, shapes.Pixels)
	for i := range n {
		r := random.Stream(0, "world", purpose, i)
		scene := shapes.NewScene(r, shapes.Prompt{})
		captions[i] = realCaptions.Caption(r, scene.Prompt)
		scene.Render(r, img)
		quantize(img, images[i*shapes.Pixels:])
	}
	return images, captions
}

// realOf renders one image of each prompt.
func realOf(purpose string, prompts []shapes.Prompt) []uint8 {
	images := make([]uint8, len(prompts)*shapes.Pixels)
	img := make([]float32, shapes.Pixels)
	for i, p := range prompts {
		r := random.Stream(0, "world", purpose, i)
		shapes.NewScene(r, p).Render(r, img)
		quantize(img, images[i*shapes.Pixels:])
	}
	return images
}
