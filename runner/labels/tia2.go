package labels

import (
	"fmt"

	"ablate/runner/rows"
)

// tia2 are the labels of TIA2 (Kim et al. 2024, "Confidence-aware reward optimization for
// fine-tuning text-to-image models"; kykim0/TextNorm, human_annotations/*.json, Apache-2.0): an
// object {NAME: {image, caption, human_labels}}. A label is 1 for good, 0 for bad and -1 for a
// skip. The set does not name the raters, and equal places in the lists of two images need not be
// one rater.
var tia2 = layout{columns: []string{"image", "caption", "human_labels"}, take: func(r *reader, w row) *rows.Wrong {
	given, bad := list[int]("human_labels", w.get("human_labels"))
	if bad != nil {
		return bad
	}
	for _, x := range given {
		if x < -1 || x > 1 {
			return &rows.Wrong{What: fmt.Sprintf("a label is %d", x), Allowed: "1 for good, 0 for bad, -1 for a skip", Do: "correct it"}
		}
		r.Labels = append(r.Labels, Label{Prompt: w.get("caption"), Image: w.get("image"), Value: []Value{Skip, Bad, Good}[x+1]})
	}
	if len(given) == 0 {
		return &rows.Wrong{What: "human_labels is empty", Allowed: "one label or more", Do: "correct it"}
	}
	return nil
}}
