// Package shapes is the embedded world of images that a program can judge:
// up to four coloured shapes on a 2×2 grid of cells, drawn by a renderer, named
// by prompts such as "three red circles on a white background", and read back
// by a parser. Nothing in it learns.
//
//	Prompts, Catalogue   what studies ask for, and which of it is held out
//	NewScene, Render     an image that shows a prompt
//	Captions             the imperfect caption of a scene, for pretraining
//	Read, Judge          what an image shows, and whether that is the prompt
//
// Images are float32[16, 16, 3], height by width by channel, values in [0, 1].
// All randomness comes from the caller's stream: equal streams, equal images.
//
// Its limits have to be said beside results. Objects lie on a known grid, no
// two overlap, all of an image look alike, and one parser is both annotator and
// gold: nothing here tells how a judge who errs in other ways than noise would
// change a result.
package shapes
