package page

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"

	"ablate/reports/picture"
)

// Limits of pictures of any size, which sizes names. Those of the shapes world are written as they are.
const (
	thumbSide = 256  // pixels of the longer side of a picture in the page
	fullSide  = 1024 // pixels of the longer side of a full picture, which a link opens
	mostFull  = 200  // MB of full pictures in a report
	mostShown = 2000 // pictures in the page: as many take minutes to decode at 1,024 × 1,024 pixels
)

// photographs reports whether pictures are of any size and content.
func (r Report) photographs() bool { return r.Imported || r.Photographs }

// kind returns the format of pictures: png for those of the shapes world, jpeg for others.
func (r Report) kind() string {
	if r.photographs() {
		return "jpeg"
	}
	return "png"
}

// encode returns a picture as it is in the page and, if it is larger than that, as a full picture.
func (r Report) encode(img image.Image) (thumb, full []byte, err error) {
	var b bytes.Buffer
	if !r.photographs() {
		err := png.Encode(&b, img)
		return b.Bytes(), nil, err
	}
	if picture.Larger(img, thumbSide) {
		img = picture.Scaled(img, fullSide)
		if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
			return nil, nil, err
		}
		full, b = b.Bytes(), bytes.Buffer{}
	}
	err = jpeg.Encode(&b, picture.Scaled(img, thumbSide), &jpeg.Options{Quality: 85})
	return b.Bytes(), full, err
}

// A budget is what full pictures may take.
type budget struct {
	bytes int // that a trial may have
	shown int // prompts of a trial that are shown
	full  int // the fewest of a trial's first prompts whose full pictures fit
	any   bool
}

// sizes returns sentences on the sizes of pictures, and on what is left out.
func (r Report) sizes(single bool, n int, b budget) string {
	if !r.photographs() {
		return ""
	}
	s := fmt.Sprintf("Pictures are shown with at most %d pixels a side.", thumbSide)
	if n < prompts {
		s += fmt.Sprintf(" A report shows about 2,000 of them at most: these are of %d prompts a seed.", n)
	}
	switch {
	case single:
		return s + " This file has no others; in the report in a folder, each opens with at most 1,024."
	case !b.any:
		return s + " None is larger."
	}
	s += " A click, or Enter, opens one with at most 1,024."
	if b.full < b.shown {
		s += fmt.Sprintf(" A report has at most %d MB of these, so that only the first %d prompts of a seed have them in all arms.", mostFull, b.full)
	}
	return s
}
