// Package picture scales pictures and puts them together in contact sheets.
package picture

import (
	"image"

	"golang.org/x/image/draw"
)

// Larger reports whether a side of a picture has more than side pixels.
func Larger(img image.Image, side int) bool { return longer(img) > side }

func longer(img image.Image) int { return max(img.Bounds().Dx(), img.Bounds().Dy()) }

// Scaled returns a picture with at most side pixels a side.
func Scaled(img image.Image, side int) image.Image {
	if !Larger(img, side) {
		return img
	}
	b := img.Bounds()
	small := image.NewRGBA(image.Rect(0, 0, max(1, b.Dx()*side/longer(img)), max(1, b.Dy()*side/longer(img))))
	draw.CatmullRom.Scale(small, small.Bounds(), img, b, draw.Src, nil)
	return small
}

// enlarged returns a picture in which each pixel is a square, as large as side allows.
func enlarged(img image.Image, side int) image.Image {
	b := img.Bounds()
	k := side / max(1, longer(img))
	if k < 2 {
		return img
	}
	large := image.NewRGBA(image.Rect(0, 0, k*b.Dx(), k*b.Dy()))
	draw.NearestNeighbor.Scale(large, large.Bounds(), img, b, draw.Src, nil)
	return large
}
