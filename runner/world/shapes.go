package world

import (
	"fmt"
	"math/rand/v2"

	"ablate/models/random"
	"ablate/models/shapes"
)

// Shape of an image, and the number of its values (Pixels).
const (
	Size     = shapes.Size
	Channels = shapes.Pixels / (shapes.Size * shapes.Size)
	Pixels   = shapes.Pixels
)

// Captions are the error rates of the captions of pretraining pairs.
type Captions = shapes.Captions

// Vocabulary is the width of the text encoders' input.
func Vocabulary() int { return shapes.Vocabulary() }

// Categories returns the categories of the prompts.
func Categories() []string {
	var out []string
	for c := shapes.CategoryCount; c <= shapes.CategoryCombination; c++ {
		out = append(out, c.String())
	}
	return out
}

// Shapes returns the shapes world.
func Shapes() *World {
	p := prompts{shapes.Prompts()}
	return &World{Prompts: p, Perturbations: p, Texts: bags{}, Judge: parser{}, Images: renderer{}}
}

// prompts draws from the catalogue of prompts.
type prompts struct{ catalogue *shapes.Catalogue }

func (p prompts) Draw(r *rand.Rand, seenOnly bool) Prompt {
	e := p.catalogue.All()[p.catalogue.Draw(r, seenOnly)]
	return Prompt{Text: e.Prompt.String(), Category: e.Category.String(), Seen: e.Seen, Complete: e.Prompt.Complete()}
}

func (p prompts) Perturbed(prompt string) ([][]string, error) {
	q, err := shapes.ParsePrompt(prompt)
	if err != nil {
		return nil, err
	}
	i, ok := p.catalogue.Find(q)
	if !ok {
		return nil, fmt.Errorf("%q is not a prompt of this world", prompt)
	}
	one, two := p.catalogue.Perturbed(i)
	groups := make([][]string, 2)
	for g, list := range [][]int{one, two} {
		for _, k := range list {
			groups[g] = append(groups[g], p.catalogue.All()[k].Prompt.String())
		}
	}
	return groups, nil
}

func (p prompts) Contrasts(prompt string, n int) ([]string, error) {
	q, err := shapes.ParsePrompt(prompt)
	if err != nil {
		return nil, err
	}
	list := p.catalogue.Contrasts(q, n)
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = c.String()
	}
	return out, nil
}

// bags encodes prompts as bags of words.
type bags struct{}

func (bags) Input(prompts []string) ([]float32, error) {
	v := shapes.Vocabulary()
	x := make([]float32, len(prompts)*v)
	for i, s := range prompts {
		p, err := shapes.ParsePrompt(s)
		if err != nil {
			return nil, err
		}
		p.Words(x[i*v:])
	}
	return x, nil
}

// parser judges images by parsing them. It is the gold judge, and with added noise the
// annotator.
type parser struct{}

func (parser) Judge(image []uint8, prompt string) (Verdict, error) {
	p, err := shapes.ParsePrompt(prompt)
	if err != nil {
		return Verdict{}, err
	}
	img := make([]float32, Pixels)
	for i, v := range image[:Pixels] {
		img[i] = float32(v) / 255
	}
	r := shapes.Read(img)
	label := map[shapes.Verdict]string{shapes.Good: Good, shapes.Bad: Bad, shapes.Skip: Skip}[r.Judge(p)]
	return Verdict{Label: label, Read: r.String()}, nil
}

// renderer makes real images by rendering scenes.
type renderer struct{}

// realCaptions are the error rates of the captions of real images. They equal the
// defaults of pretraining captions, and do not change when a study sweeps those.
var realCaptions = shapes.Captions{Count: .4, Colour: .3, Background: .3, Absent: .2}

func (renderer) Pairs(seed int64, n int, c Captions) ([]uint8, []string) {
	return captioned(n, c, func(i int) *rand.Rand { return random.Stream(seed, "data", "pair", i) })
}

func (renderer) Real(set string, n int) ([]uint8, []string) {
	return captioned(n, realCaptions, func(i int) *rand.Rand { return random.Stream(0, "world", set, i) })
}

func captioned(n int, c Captions, stream func(i int) *rand.Rand) ([]uint8, []string) {
	images, captions := make([]uint8, n*Pixels), make([]string, n)
	img := make([]float32, Pixels)
	for i := range n {
		r := stream(i)
		scene := shapes.NewScene(r, shapes.Prompt{})
		captions[i] = c.Caption(r, scene.Prompt).String()
		scene.Render(r, img)
		quantize(img, images[i*Pixels:])
	}
	return images, captions
}

func (renderer) Showing(set string, prompts []string) ([]uint8, error) {
	images := make([]uint8, len(prompts)*Pixels)
	img := make([]float32, Pixels)
	for i, s := range prompts {
		p, err := shapes.ParsePrompt(s)
		if err != nil {
			return nil, err
		}
		r := random.Stream(0, "world", set, i)
		shapes.NewScene(r, p).Render(r, img)
		quantize(img, images[i*Pixels:])
	}
	return images, nil
}

// quantize converts values in [0, 1] to bytes. It clips values outside.
func quantize(x []float32, dst []uint8) {
	for i, v := range x {
		dst[i] = uint8(min(max(v, 0), 1)*255 + .5)
	}
}
