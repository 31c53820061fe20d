package shapes

import (
	"math"
	"math/rand/v2"

	"ablate/models/random"
)

// Size is the height and width of an image in pixels, Pixels the number of its
// values.
const (
	Size   = 16
	Pixels = Size * Size * 3
	cell   = Size / 2 // each of the 2×2 cells holds at most one object
)

// rgb is a colour, or a difference of two.
type rgb [3]float64

// The colours of the words, in their order. Models that were pretrained with blue objects on
// purple, or green ones on teal, drew additional faint objects, so those pairs are not used.
var (
	colours     = []rgb{{.86, .16, .16}, {.16, .70, .20}, {.94, .86, .16}}
	backgrounds = []rgb{{.93, .93, .93}, {.07, .07, .07}, {.50, .20, .62}}
)

// A Scene has everything that determines an image except the noise of its
// pixels. The zero Scene shows nothing; make one with NewScene.
type Scene struct {
	Prompt     Prompt // complete: what the image shows
	bodies     []body
	background rgb
	light      float64    // direction in which the light grows, radians
	gradient   [2]float64 // the background's rise from the centre to the right and lower edge
	stripes    float64    // amplitude of the background's stripes, 0 without
	phase      int        // of the stripes, pixels
	vertical   bool       // the stripes' direction
}

// A body is one object of a scene, in pixels and radians.
type body struct {
	x, y, radius, angle float64
	colour              rgb
}

// NewScene draws a scene that shows p. Slots that p leaves open are drawn uniformly. So
// are properties that no prompt names: cells, sizes, angles, light and texture. The number
// of draws from r depends on the scene.
func NewScene(r *rand.Rand, p Prompt) Scene {
	for s := range slots {
		if p[s] == 0 {
			p[s] = int8(1 + r.IntN(s.Values()))
		}
	}
	sc := Scene{Prompt: p, light: 2 * math.Pi * r.Float64()}
	jitter := func(c rgb) rgb {
		for i := range c {
			c[i] += .03 * r.NormFloat64()
		}
		return c
	}
	sc.background = jitter(backgrounds[p[Background]-1])
	sc.gradient = [2]float64{.05 * (2*r.Float64() - 1), .05 * (2*r.Float64() - 1)}
	if r.Float64() < .6 {
		sc.stripes = .03 + .02*r.Float64()
		sc.phase, sc.vertical = r.IntN(4), r.IntN(2) == 0
	}
	radius := 1.9 + .9*r.Float64()
	colour := jitter(colours[p[Colour]-1])
	for _, c := range r.Perm(4)[:p[Count]] {
		o := body{radius: radius * (.9 + .2*r.Float64()), angle: .25 * (2*r.Float64() - 1), colour: colour}
		extent := o.radius
		if p[Shape] == 2 {
			extent = o.radius * (1.02*math.Cos(o.angle) + .5*math.Abs(math.Sin(o.angle)))
		}
		// The object stays within its cell, so that two never touch.
		slack := max(0, cell/2-.75-extent)
		o.x = float64(c%2*cell) + cell/2 + slack*(2*r.Float64()-1)
		o.y = float64(c/2*cell) + cell/2 + slack*(2*r.Float64()-1)
		sc.bodies = append(sc.bodies, o)
	}
	return sc
}

// distance is the signed distance of (x, y) to the object's edge, negative
// inside.
func (o body) distance(x, y float64, bar bool) float64 {
	dx, dy := x-o.x, y-o.y
	if !bar {
		return math.Hypot(dx, dy) - o.radius
	}
	sin, cos := math.Sincos(o.angle)
	u, v := math.Abs(cos*dx+sin*dy)-1.02*o.radius, math.Abs(cos*dy-sin*dx)-.5*o.radius
	return math.Hypot(max(u, 0), max(v, 0)) + min(max(u, v), 0)
}

// Render draws the scene into dst float32[16, 16, 3], values in [0, 1]; r draws
// the noise of the pixels. Edges are antialiased over one pixel: an object covers .5 minus
// the signed distance of a pixel's centre to its edge of that pixel, from 0 to 1.
func (sc Scene) Render(r *rand.Rand, dst []float32) {
	random.Normal(r, dst[:Pixels])
	lx, ly := math.Cos(sc.light), math.Sin(sc.light)
	bar := sc.Prompt[Shape] == 2
	for y := range Size {
		for x := range Size {
			px, py := float64(x)+.5, float64(y)+.5
			shade := sc.gradient[0]*(px/cell-1) + sc.gradient[1]*(py/cell-1)
			along := y
			if sc.vertical {
				along = x
			}
			if sc.stripes > 0 {
				if (along+sc.phase)%4 < 2 {
					shade += sc.stripes
				} else {
					shade -= sc.stripes
				}
			}
			c := sc.background
			for i := range c {
				c[i] += shade
			}
			for _, o := range sc.bodies {
				// The object does not reach this pixel.
				if math.Abs(px-o.x) > cell/2+1 || math.Abs(py-o.y) > cell/2+1 {
					continue
				}
				alpha := min(max(.5-o.distance(px, py, bar), 0), 1)
				if alpha == 0 {
					continue
				}
				lit := 1 + .18*min(max(((px-o.x)*lx+(py-o.y)*ly)/o.radius, -1), 1)
				for i := range c {
					c[i] = (1-alpha)*c[i] + alpha*o.colour[i]*lit
				}
			}
			at := (y*Size + x) * 3
			for i, v := range c {
				dst[at+i] = min(max(float32(v)+.02*dst[at+i], 0), 1)
			}
		}
	}
}
