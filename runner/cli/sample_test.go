package cli_test

import (
	"encoding/json"
	"fmt"
	"image/color"
	"image/png"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"ablate/runner/sample"
	"ablate/runner/stage"
	"ablate/runner/store"
	"ablate/runner/world"
)

// redrawn draws some images of the miniature study again, by their prompts and row seeds, and compares
// them with those of the study: of the arm "all data", and of the pretrained model.
func redrawn(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(ts.Exec("ablate", "table", "mini", "--table", "trials", "--json"))
	var trials []map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &trials))
	s, err := store.Open(ts.MkAbs(".ablate"))
	ts.Check(err)
	artifact := func(arm, column string) string {
		for _, t := range trials {
			if t["arm"] == arm {
				id, err := store.ParseOutputID(t[column].(string))
				ts.Check(err)
				return s.Path(id)
			}
		}
		ts.Fatalf("the study has no arm %q", arm)
		return ""
	}
	prompts, err := stage.ReadPrompts(artifact("all data", "artifact.prompts.alignment"))
	ts.Check(err)
	images := map[string][]uint8{}
	for model, arm := range map[string]string{"trained": "all data", "pretrained": "pretrained"} {
		set, err := stage.Only(stage.ReadImages(artifact(arm, "artifact.draw.alignment")))
		ts.Check(err)
		images[model] = set.Images
	}
	for _, row := range []int{0, 7, 95} {
		dir := fmt.Sprintf("row%d", row)
		ts.Check(ts.Exec("ablate", "sample", "mini", "all data@1", "-p", prompts[row].Prompt, "--seed", fmt.Sprint(prompts[row].Seed), "-n", "1", "-o", dir, "--json"))
		var d sample.Document
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &d))
		if len(d.Images) != 2 {
			ts.Fatalf("row %d: %d images, want 2", row, len(d.Images))
		}
		for _, x := range d.Images {
			f, err := os.Open(ts.MkAbs(dir + "/" + x.File))
			ts.Check(err)
			got, err := png.Decode(f)
			ts.Check(err)
			ts.Check(f.Close())
			want := world.Picture(images[x.Model], row)
			if got.Bounds() != want.Bounds() {
				ts.Fatalf("%s: %v, want %v", x.File, got.Bounds(), want.Bounds())
			}
			for i := range world.Size * world.Size {
				p, q := got.At(i%world.Size, i/world.Size), want.At(i%world.Size, i/world.Size)
				if color.NRGBAModel.Convert(p) != color.NRGBAModel.Convert(q) {
					ts.Fatalf("%s, pixel %d: %v, and the study has drawn %v", x.File, i, p, q)
				}
			}
		}
	}
}
