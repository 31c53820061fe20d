package clip

import "math"

// Image has three bytes for each pixel, row by row.
type Image struct {
	Height, Width int
	RGB           []uint8
}

// Crop returns the part of an image that begins at a pixel.
func (x Image) Crop(top, left, height, width int) Image {
	y := Image{height, width, make([]uint8, 0, 3*height*width)}
	for row := top; row < top+height; row++ {
		y.RGB = append(y.RGB, x.RGB[3*(row*x.Width+left):3*(row*x.Width+left+width)]...)
	}
	return y
}

// A Filter is one of Pillow's resampling filters.
type Filter struct {
	support float64 // pixels on each side
	at      func(x float64) float64
}

// The filters.
var (
	Bicubic = Filter{2, cubic}
	Lanczos = Filter{3, lanczos}
)

// Resize is the resampling of Pillow 13, with equal bytes: along rows and along columns,
// each time a sum of whole numbers that is rounded to a byte. When an image shrinks, the filter is
// widened by the same factor (antialias).
func (x Image) Resize(height, width int, f Filter) Image {
	// Earlier versions of Pillow always begin with rows. The rule of version 13 was found by trial,
	// and testdata/resize.py tests it.
	if height < x.Height && x.Height-height > 2*(x.Width-width) {
		return x.resizeColumns(height, f).resizeRows(width, f)
	}
	return x.resizeRows(width, f).resizeColumns(height, f)
}

// resizeRows changes the number of pixels in each row.
func (x Image) resizeRows(width int, f Filter) Image {
	if width == x.Width {
		return x
	}
	y := Image{x.Height, width, make([]uint8, 3*x.Height*width)}
	all := newTaps(x.Width, width, f)
	for row := range x.Height {
		resample(y.RGB[3*row*width:], x.RGB[3*row*x.Width:], all, 1)
	}
	return y
}

// resizeColumns changes the number of rows.
func (x Image) resizeColumns(height int, f Filter) Image {
	if height == x.Height {
		return x
	}
	y := Image{height, x.Width, make([]uint8, 3*height*x.Width)}
	all := newTaps(x.Height, height, f)
	for column := range x.Width {
		resample(y.RGB[3*column:], x.RGB[3*column:], all, x.Width)
	}
	return y
}

// fraction is the number of binary digits after the point of a tap's weights.
const fraction = 32 - 8 - 2

// taps are the weights of the inputs of one output, from input first on.
type taps struct {
	first   int
	weights []int
}

// newTaps returns the taps of each output.
func newTaps(in, out int, f Filter) []taps {
	scale := float64(in) / float64(out)
	wide := max(scale, 1)
	support := f.support * wide
	all := make([]taps, out)
	for i := range all {
		center := (float64(i) + .5) * scale
		first := max(int(center-support+.5), 0)
		w := make([]float64, min(int(center+support+.5), in)-first)
		var sum float64
		for j := range w {
			w[j] = f.at((float64(j+first) - center + .5) * (1 / wide))
			sum += w[j]
		}
		all[i] = taps{first, make([]int, len(w))}
		for j := range w {
			all[i].weights[j] = int(math.Round(w[j] / sum * (1 << fraction)))
		}
	}
	return all
}

// cubic is the cubic convolution filter with a = -1/2 (Keys 1981, eq. 4).
func cubic(x float64) float64 {
	const a = -.5
	switch x = math.Abs(x); {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// lanczos is the sinc function within 3 pixels, windowed by a wider one (Duchon 1979).
func lanczos(x float64) float64 {
	sinc := func(x float64) float64 {
		if x == 0 {
			return 1
		}
		x *= math.Pi
		return math.Sin(x) / x
	}
	if x < -3 || x >= 3 {
		return 0
	}
	return sinc(x) * sinc(x/3)
}

// resample computes one line of pixels, which are step pixels apart in both images.
func resample(out, in []uint8, all []taps, step int) {
	for i, t := range all {
		for c := range 3 {
			sum := 1 << (fraction - 1)
			for j, w := range t.weights {
				sum += w * int(in[3*(t.first+j)*step+c])
			}
			out[3*i*step+c] = uint8(min(max(sum>>fraction, 0), 255))
		}
	}
}
