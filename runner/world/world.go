// Package world defines the domain of a study's images: its prompts and perturbed
// prompts, the real images and captions for pretraining and evaluation, and a judge that
// labels whether an image shows its prompt. Stages use it through small interfaces, in
// which a prompt is a string and an image is bytes. This version has one world, the
// shapes world of models/shapes; all other packages reach it through this one.
package world

import (
	_ "embed"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"strings"
)

// A Prompt is a prompt of a study.
type Prompt struct {
	Text     string
	Category string // what the prompt tests, such as "count"
	Seen     bool   // a training may use it; other prompts are held out
	Complete bool   // it describes everything that an image shows, so that all its images should look alike
}

// Prompts draws the prompts of a study.
type Prompts interface {
	// Draw draws a random prompt: of all prompts, or only of those that a training may
	// use.
	Draw(r *rand.Rand, seenOnly bool) Prompt
}

// Perturbations makes prompts that describe other images than a given prompt.
type Perturbations interface {
	// Perturbed returns perturbed prompts that a training may use, in groups: those with
	// one word replaced, then those with two. It is an error if prompt is not a prompt of
	// the world.
	Perturbed(prompt string) ([][]string, error)
	// Contrasts returns up to n prompts for contrastive normalization; they depend only
	// on prompt and n.
	Contrasts(prompt string, n int) ([]string, error)
}

// Texts encodes prompts as the input of text encoders.
type Texts interface {
	// Input returns the input of n prompts, float32[n, Vocabulary].
	Input(prompts []string) ([]float32, error)
}

// Labels of an image. A judge labels an image that it cannot read with Skip; such an
// image counts as not aligned.
const (
	Good = "good"
	Bad  = "bad"
	Skip = "skip"
)

// A Verdict is the judgement of one image.
type Verdict struct {
	Label string // Good, Bad or Skip
	Read  string // description of what the judge recognised in the image
}

// A Judge judges whether an image uint8[Size, Size, Channels] shows its prompt.
type Judge interface {
	Judge(image []uint8, prompt string) (Verdict, error)
}

// Images are real images, uint8[n, Size, Size, Channels]. In the shapes world a renderer
// makes them.
type Images interface {
	// Pairs returns n pairs of images and captions for pretraining. A pair depends only
	// on the seed, its number and c.
	Pairs(seed int64, n int, c Captions) ([]uint8, []string)
	// Real returns n images with imperfect captions that no training sees. Sets of
	// different names are independent.
	Real(set string, n int) ([]uint8, []string)
	// Showing returns one image for each prompt, which shows the prompt. No training sees
	// these images.
	Showing(set string, prompts []string) ([]uint8, error)
}

// A World is the domain of a study.
type World struct {
	Prompts       Prompts
	Perturbations Perturbations
	Texts         Texts
	Judge         Judge
	Images        Images
}

// Annotate returns the label of a noisy annotator: with probability noise it turns the
// judge's label Good into Bad and Bad into Good. Skip stays. It draws exactly one number
// from r, whatever the label is.
func Annotate(r *rand.Rand, label string, noise float64) string {
	if r.Float64() >= noise {
		return label
	}
	switch label {
	case Good:
		return Bad
	case Bad:
		return Good
	}
	return label
}

// Picture returns the image of an index, or nil if the set has no such image.
func Picture(images []uint8, index int) image.Image {
	if index < 0 || (index+1)*Pixels > len(images) {
		return nil
	}
	b := images[index*Pixels:]
	img := image.NewNRGBA(image.Rect(0, 0, Size, Size))
	for i := range Size * Size {
		img.SetNRGBA(i%Size, i/Size, color.NRGBA{b[Channels*i], b[Channels*i+1], b[Channels*i+2], 255})
	}
	return img
}

// Check returns an error if a network was made for images or a vocabulary of another size
// than the world's.
func Check(size, channels, vocabulary int) error {
	if size != Size || channels != Channels || vocabulary != Vocabulary() {
		return fmt.Errorf("it is for images of %d×%d×%d and a vocabulary of %d words; must be %d×%d×%d and %d, as the shapes world has them",
			size, size, channels, vocabulary, Size, Size, Channels, Vocabulary())
	}
	return nil
}

//go:embed methods.txt
var methodsText string

// Methods returns paragraphs for reports about the world and its metrics.
func Methods() []string {
	var out []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(methodsText), "\n\n") {
		out = append(out, strings.ReplaceAll(paragraph, "\n", " "))
	}
	return out
}
