// Package shapes is a synthetic world of small images in which a program can judge whether
// an image shows its prompt. An image has up to four coloured shapes on a 2×2 grid of cells,
// and a prompt describes it, such as "three red circles on a white background". Images are
// drawn by a renderer and read back by a parser. Nothing in this package is learned.
//
//	Prompts, Catalogue   the prompts of studies, and which of them are held out
//	NewScene, Render     an image that shows a prompt
//	Captions             the imperfect caption of a scene, for pretraining
//	Read, Judge          what an image shows, and whether that is the prompt
//
// Images are float32[16, 16, 3], height by width by channel, values in [0, 1].
// All randomness comes from the caller's stream: equal streams give equal images.
//
// Reports must state the limits of this world. Objects lie on a known grid and do not
// overlap, all objects of an image look alike, and one parser is both the annotator (who
// labels images for a reward) and the gold (the true judge). So results here do not show the
// effect of an annotator with errors other than noise.
package shapes
