package clip

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"ablate/models/checkpoint"
)

// Processor makes an image encoder's pixels of an image, by a preprocessor_config.json, as
// transformers' CLIPImageProcessor does with Pillow: Pixels of Cropped of Resized.
type Processor struct {
	Resize, Crop       bool
	Size, CropSize     Size
	Rescale, Normalize bool
	Factor             float64 // by which Rescale multiplies
	Mean, Std          [3]float64
}

// Size is a size in a preprocessor_config.json: a height and a width, or the length of the shorter
// side, whose image keeps its proportions.
type Size struct {
	Height   int `json:"height"`
	Width    int `json:"width"`
	Shortest int `json:"shortest_edge"`
}

// UnmarshalJSON implements json.Unmarshaler. In old files a size is a number.
func (s *Size) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil // as if the key were missing
	}
	all := map[string]int{}
	var shortest int
	if json.Unmarshal(b, &shortest) == nil {
		all["shortest_edge"] = shortest
	} else if json.Unmarshal(b, &all) != nil {
		return fmt.Errorf("%s is not a size: it must have a height and a width, or a shortest_edge", b)
	}
	*s = Size{all["height"], all["width"], all["shortest_edge"]}
	for key, value := range all {
		if value < 1 || value > 1<<14 || key != "height" && key != "width" && key != "shortest_edge" {
			return fmt.Errorf("%s is %d: a size must have a height and a width, or a shortest_edge, from 1 to %d", key, value, 1<<14)
		}
	}
	if sides := s.Height > 0 && s.Width > 0; sides == (s.Shortest > 0) || len(all) == 3 || sides != (len(all) == 2) {
		return fmt.Errorf("%s is not a size: it must have a height and a width, or a shortest_edge", b)
	}
	return nil
}

// The mean and the standard deviation of colours in CLIP's training data, which are the defaults.
var means, deviations = []float64{.48145466, .4578275, .40821073}, []float64{.26862954, .26130258, .27577711}

// bicubic is Pillow's number of the filter that Resized has.
const bicubic = 3

// ReadProcessor reads the preprocessor_config.json in the folder of a CLIPModel.
func ReadProcessor(dir string) (Processor, error) {
	p := struct {
		Resize    *bool     `json:"do_resize"`
		Size      Size      `json:"size"`
		Resample  int       `json:"resample"`
		Crop      *bool     `json:"do_center_crop"`
		CropSize  Size      `json:"crop_size"`
		Rescale   *bool     `json:"do_rescale"`
		Factor    float64   `json:"rescale_factor"`
		Normalize *bool     `json:"do_normalize"`
		Mean      []float64 `json:"image_mean"`
		Std       []float64 `json:"image_std"`
	}{
		Size: Size{Shortest: 224}, Resample: bicubic, CropSize: Size{Height: 224, Width: 224}, Factor: 1. / 255,
	}
	path := filepath.Join(dir, "preprocessor_config.json")
	if err := checkpoint.ReadJSON(path, &p, false); err != nil {
		return Processor{}, err
	}
	yes := func(b *bool) bool { return b == nil || *b }
	c := Processor{Resize: yes(p.Resize), Crop: yes(p.Crop), Size: p.Size, CropSize: p.CropSize,
		Rescale: yes(p.Rescale), Normalize: yes(p.Normalize), Factor: p.Factor}
	if n := c.CropSize.Shortest; n > 0 { // the number of an old file
		c.CropSize = Size{Height: n, Width: n}
	}
	if p.Resample != bicubic {
		return c, fmt.Errorf("%s: resample is %d: it must be %d, Pillow's bicubic filter", path, p.Resample, bicubic)
	}
	if p.Mean == nil {
		p.Mean = means
	}
	if p.Std == nil {
		p.Std = deviations
	}
	for key, list := range map[string][]float64{"image_mean": p.Mean, "image_std": p.Std} {
		if len(list) != 3 {
			return c, fmt.Errorf("%s: %s is %v: it must have a number for red, green and blue", path, key, list)
		}
	}
	c.Mean, c.Std = [3]float64(p.Mean), [3]float64(p.Std)
	for _, std := range c.Std {
		if std <= 0 {
			return c, fmt.Errorf("%s: image_std is %v: its numbers must be greater than 0", path, p.Std)
		}
	}
	return c, nil
}

// maxPixels bounds what an image of extreme proportions is enlarged to.
const maxPixels = 1 << 26

// Resized is the first step: an image of the configured size, by Pillow's bicubic filter.
func (p Processor) Resized(x Image) (Image, error) {
	if x.Height < 1 || x.Width < 1 || len(x.RGB) != 3*x.Height*x.Width {
		return x, fmt.Errorf("an image of %d × %d pixels has %d bytes: it must have three for each pixel, and at least one pixel", x.Height, x.Width, len(x.RGB))
	}
	if !p.Resize {
		return x, nil
	}
	height, width := p.Size.Height, p.Size.Width
	if s := p.Size.Shortest; s > 0 {
		// The longer side is cut to a whole number, and not rounded.
		if height, width = s, s; x.Height <= x.Width {
			width = int(float64(s*x.Width) / float64(x.Height))
		} else {
			height = int(float64(s*x.Height) / float64(x.Width))
		}
	}
	if max(height, x.Height) > maxPixels/width {
		return x, fmt.Errorf("an image of %d × %d pixels becomes one of %d × %d: at most %d pixels are supported; crop the image", x.Height, x.Width, height, width, maxPixels)
	}
	return x.Resize(height, width, Bicubic), nil
}

// Cropped is the second step: the centre of an image, with black around it where the
// image is smaller.
func (p Processor) Cropped(x Image) Image {
	if !p.Crop {
		return x
	}
	y := Image{p.CropSize.Height, p.CropSize.Width, make([]uint8, 3*p.CropSize.Height*p.CropSize.Width)}
	top, left := (x.Height-y.Height)>>1, (x.Width-y.Width)>>1 // rounded down, also below 0
	for row := max(0, -top); row < min(y.Height, x.Height-top); row++ {
		from, to := max(0, -left), min(y.Width, x.Width-left)
		copy(y.RGB[3*(row*y.Width+from):3*(row*y.Width+to)], x.RGB[3*((row+top)*x.Width+left+from):])
	}
	return y
}

// Pixels is the last step: the float32[height, width, 3] that an image encoder reads.
func (p Processor) Pixels(x Image) []float32 {
	out := make([]float32, len(x.RGB))
	for i, v := range x.RGB {
		f := float64(v)
		if p.Rescale {
			f *= p.Factor
		}
		if p.Normalize {
			f = (f - p.Mean[i%3]) / p.Std[i%3]
		}
		out[i] = float32(f)
	}
	return out
}
