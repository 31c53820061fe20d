// Package world is what the images of a study are of: its prompts, what contrasts with
// them, images to learn from and to compare with, and a judge. Stages ask for these
// through a few interfaces, in which a prompt is a text and an image is bytes. The one
// world of this version is the shapes world, and only this package knows it.
package world

import (
	_ "embed"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"strings"
)

// A Prompt is one that a study draws.
type Prompt struct {
	Text     string
	Category string // what it tests, as "count"
	Seen     bool   // whether a training may use it: others are held out
	Complete bool   // whether it names all that an image shows, so that its images should look alike
}

// Prompts draws the prompts of a study.
type Prompts interface {
	// Draw draws a prompt, of all prompts or of those that a training may use.
	Draw(r *rand.Rand, seenOnly bool) Prompt
}

// Perturbations are the prompts that contrast with a prompt.
type Perturbations interface {
	// Perturbed lists perturbed prompts that a training may use, in groups: those with one word
	// swapped, then those with two. The prompt must be one of the study's.
	Perturbed(prompt string) ([][]string, error)
	// Contrasts are up to n prompts that contrast with any prompt, always the same ones.
	Contrasts(prompt string, n int) ([]string, error)
}

// Texts makes the input of the text encoders.
type Texts interface {
	// Input is the input of prompts, float32[n, Vocabulary].
	Input(prompts []string) ([]float32, error)
}

// Labels of an image. A judge skips an image that it cannot read; a skipped image counts
// as not aligned.
const (
	Good = "good"
	Bad  = "bad"
	Skip = "skip"
)

// A Verdict is a judgement of an image.
type Verdict struct {
	Label string // Good, Bad or Skip
	Read  string // what the judge saw
}

// A Judge judges whether an image uint8[Size, Size, Channels] shows its prompt.
type Judge interface {
	Judge(image []uint8, prompt string) (Verdict, error)
}

// Images are those that people, or here a renderer, made: uint8[n, Size, Size, Channels].
type Images interface {
	// Pairs are n pairs of images and captions to pretrain on. A pair depends on the seed
	// and its number alone.
	Pairs(seed int64, n int, c Captions) ([]uint8, []string)
	// Real are n images with imperfect captions that no training sees. Sets of different
	// names are drawn independently.
	Real(set string, n int) ([]uint8, []string)
	// Showing are images that show prompts, one each. No training sees them.
	Showing(set string, prompts []string) ([]uint8, error)
}

// A World is all of it.
type World struct {
	Prompts       Prompts
	Perturbations Perturbations
	Texts         Texts
	Judge         Judge
	Images        Images
}

// Annotate is the label of an annotator who takes good for bad and bad for good with
// probability noise, where a judge without noise gives another. A skip remains. It draws
// one number from r, whatever the label.
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

// Picture is one image of a set; nil if the set has no such image.
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

// Check compares what a network was made for with the world.
func Check(size, channels, vocabulary int) error {
	if size != Size || channels != Channels || vocabulary != Vocabulary() {
		return fmt.Errorf("it is for images of %d×%d×%d and a vocabulary of %d words; must be %d×%d×%d and %d, as the shapes world has them",
			size, size, channels, vocabulary, Size, Size, Channels, Vocabulary())
	}
	return nil
}

//go:embed methods.txt
var methodsText string

// Methods are paragraphs about the world and what is measured in it, for reports.
func Methods() []string {
	var out []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(methodsText), "\n\n") {
		out = append(out, strings.ReplaceAll(paragraph, "\n", " "))
	}
	return out
}
