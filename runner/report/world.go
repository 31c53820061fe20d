package report

import (
	_ "embed"
	"image"
	"image/color"
	"strings"

	"ablate/models/shapes"
)

//go:embed methods.txt
var methodsText string

// methods are the paragraphs about the shapes world that every report has.
func methods() []string {
	var out []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(methodsText), "\n\n") {
		out = append(out, strings.ReplaceAll(paragraph, "\n", " "))
	}
	return out
}

// picture is an image of the shapes world among those of a set; nil if the set has
// no such image.
func picture(images []uint8, index int) image.Image {
	if (index+1)*shapes.Pixels > len(images) {
		return nil
	}
	b := images[index*shapes.Pixels:]
	img := image.NewNRGBA(image.Rect(0, 0, shapes.Size, shapes.Size))
	for i := range shapes.Size * shapes.Size {
		img.SetNRGBA(i%shapes.Size, i/shapes.Size, color.NRGBA{b[3*i], b[3*i+1], b[3*i+2], 255})
	}
	return img
}
