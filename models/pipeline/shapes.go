package pipeline

import (
	"fmt"

	"ablate/models/dit"
	"ablate/models/process"
)

// Shapes is the network of the shapes world.
func Shapes(c dit.Config) Network {
	return Network{
		// The name has every field, because each of them changes the graph.
		Name: fmt.Sprintf("shapes %d×%d×%d, patch %d, MLP %d, text %d×%d, image %d×%d", c.Layers, c.Width, c.Heads, c.PatchSize, c.MLPRatio,
			c.Vocabulary, c.TextWidth, c.ImageSize, c.Channels),
		Image: [3]int{c.ImageSize, c.ImageSize, c.Channels},
		Text:  c.Vocabulary, Cond: c.TextWidth,
		Params: c.Params(), TextParams: c.TextParams(),
		Denoise: c.Denoise, Encode: c.EncodeText,
		Process: process.ShapesFlow(),
	}
}
