package shapes

import (
	"fmt"
	"math"
	"slices"
)

// Limits of the parser, in RGB distance and pixels. The first five define what
// an image shows. The last three decide which objects are irregular, and were chosen on
// clean renders such that the parser rejects almost no object of the renderer: one in
// 8 of 60,000 scenes.
const (
	contrast  = .29 // a pixel this far from the background belongs to an object
	smallest  = 5   // fewer pixels are a fragment; a single one is noise
	largest   = 38  // more are objects that merged
	core      = .75 // share of the largest contrast that a pixel of pure colour has
	elongated = 2.2 // ratio of the moments' eigenvalues from which an object is a bar

	stray   = .42 // a colour further than this from every known one is unknown
	hollow  = 8.0 // least area by √(λ₁λ₂): 12 for a rectangle, 4π for an ellipse
	longest = 7.5 // greatest length √(12 λ₁) of the rectangle with these moments
)

// Read reads an image float32[16, 16, 3] with values in [0, 1]: it finds the
// background as the median of the border, the objects as the 4-connected parts
// that differ from it, and the colour and shape of each.
//
// It never panics. A Reading of an image that cannot be read has a Reason. Values
// after the first 16·16·3 are ignored.
func Read(img []float32) Reading {
	if len(img) < Pixels {
		return Reading{Reason: fmt.Sprintf("%d values are not an image", len(img))}
	}
	for _, v := range img[:Pixels] {
		if v := float64(v); math.IsNaN(v) || math.IsInf(v, 0) {
			return Reading{Reason: "a pixel is not a number"}
		}
	}
	ground := border(img)
	bg, far := nearest(ground, backgrounds)
	if far > stray {
		return Reading{Reason: "the background has no known colour"}
	}
	var away [Size * Size]float64 // contrast of each pixel
	for i := range away {
		away[i] = distance(at(img, i), ground)
	}
	r := Reading{Background: bg}
	var done [Size * Size]bool
	var room [Size * Size]int
	for start := range away {
		if done[start] || away[start] <= contrast {
			continue
		}
		part := flood(start, &away, &done, room[:0])
		switch n := len(part); {
		case n == 1:
			continue
		case n < smallest:
			return Reading{Reason: "a fragment"}
		case n > largest:
			return Reading{Reason: "objects that merged"}
		}
		o, reason := look(img, part, &away)
		if reason != "" {
			return Reading{Reason: reason}
		}
		r.Objects = append(r.Objects, o)
	}
	switch n := len(r.Objects); {
	case n == 0:
		return Reading{Reason: "no object"}
	case n > Count.Values():
		return Reading{Reason: "more than four objects"}
	}
	return r
}

// border is the median colour of the image's outermost ring of pixels.
func border(img []float32) rgb {
	const n = 4 * (Size - 1)
	var ring [3][n]float32
	k := 0
	for i := range Size * Size {
		if x, y := i%Size, i/Size; x == 0 || y == 0 || x == Size-1 || y == Size-1 {
			for c := range ring {
				ring[c][k] = img[i*3+c]
			}
			k++
		}
	}
	var m rgb
	for c := range ring {
		slices.Sort(ring[c][:])
		m[c] = (float64(ring[c][n/2-1]) + float64(ring[c][n/2])) / 2
	}
	return m
}

// flood appends to part the pixels that are 4-connected with start and differ
// from the background, and marks them done.
func flood(start int, away *[Size * Size]float64, done *[Size * Size]bool, part []int) []int {
	visit := func(j int, inside bool) {
		if inside && !done[j] && away[j] > contrast {
			done[j] = true
			part = append(part, j)
		}
	}
	visit(start, true)
	for k := 0; k < len(part); k++ { // part grows as its pixels are visited
		i := part[k]
		visit(i-1, i%Size > 0)
		visit(i+1, i%Size < Size-1)
		visit(i-Size, i >= Size)
		visit(i+Size, i < Size*(Size-1))
	}
	return part
}

// look returns the object that one connected part of the image shows, or the reason
// why it is not an object. The weight of a pixel is its contrast divided by core and by
// the largest contrast of the part, and at most 1.
func look(img []float32, part []int, away *[Size * Size]float64) (Object, string) {
	top := 0.0
	for _, i := range part {
		top = max(top, away[i])
	}
	var pure rgb
	var n, mass, mx, my, xx, yy, xy float64
	for _, i := range part {
		if away[i] >= core*top {
			n++
			for c, v := range at(img, i) {
				pure[c] += v
			}
		}
		a := min(away[i]/(core*top), 1)
		x, y := float64(i%Size), float64(i/Size)
		mass += a
		mx, my = mx+a*x, my+a*y
		xx, yy, xy = xx+a*x*x, yy+a*y*y, xy+a*x*y
	}
	for c := range pure {
		pure[c] /= n // n > 0: the pixel of the largest contrast counts
	}
	colour, far := nearest(pure, colours)
	if far > stray {
		return Object{}, "an object has no known colour"
	}
	// λ1 and λ2 are the second moments of the pixels' centres about their mean. Each pixel
	// is a square with a variance of 1/12 along each axis, so the moments of the covered
	// area are larger by 1/12. Antialiased edges spread the object by as much, so the
	// moments of the object itself are smaller by 1/12: 0 across a line of single pixels.
	mx, my = mx/mass, my/mass
	xx, yy, xy = xx/mass-mx*mx, yy/mass-my*my, xy/mass-mx*my
	half, root := (xx+yy)/2, math.Hypot((xx-yy)/2, xy)
	λ1, λ2 := half+root, half-root
	const pixel = 1. / 12
	if mass/math.Sqrt((λ1+pixel)*(λ2+pixel)) < hollow || math.Sqrt(12*(λ1+pixel)) > longest {
		return Object{}, "an object of irregular shape"
	}
	shape := int8(1)
	if (λ1 - pixel) > elongated*(λ2-pixel) {
		shape = 2
	}
	return Object{Colour: colour, Shape: shape}, ""
}

// at returns the colour of pixel i.
func at(img []float32, i int) rgb {
	return rgb{float64(img[i*3]), float64(img[i*3+1]), float64(img[i*3+2])}
}

// nearest returns the index of the colour of list that is nearest to c, counted from 1, and
// its distance.
func nearest(c rgb, list []rgb) (int8, float64) {
	best, k := math.Inf(1), 0
	for i, l := range list {
		if d := distance(c, l); d < best {
			best, k = d, i
		}
	}
	return int8(k + 1), best
}

// distance is the Euclidean distance in RGB.
func distance(a, b rgb) float64 {
	r, g, bl := a[0]-b[0], a[1]-b[1], a[2]-b[2]
	return math.Sqrt(r*r + g*g + bl*bl)
}
