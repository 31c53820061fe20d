package pipeline

import (
	"fmt"

	"ablate/models/dit"
	"ablate/models/schedule"
)

// Shapes is the network of the shapes world.
func Shapes(c dit.Config) Network {
	return Network{
		Name:   fmt.Sprintf("shapes %d×%d×%d", c.Layers, c.Width, c.Heads),
		Image:  [3]int{c.ImageSize, c.ImageSize, c.Channels},
		Words:  c.Vocabulary,
		Params: c.Params(), TextParams: c.TextParams(),
		Denoise: c.Denoise, Encode: c.EncodeText,
		Schedule: schedule.Default(),
	}
}
