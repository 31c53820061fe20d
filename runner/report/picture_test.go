package report

import (
	"path/filepath"
	"testing"

	"ablate/models/checkpoint"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/result"
	"ablate/runner/store"
	"ablate/runner/world"
)

// TestPictures: the pictures of a trial are those of the set that they are asked of: for
// the study's prompts, or for captions. A set has none beyond its last, and a damaged set
// has none at all.
func TestPictures(t *testing.T) {
	r := failed(t)
	v := r.Project.Study.Views[0]
	trial, c := v.Trial.ID().String(), r.Project.Graph.Chains[v.Trial.ID()]
	// drawn commits two images of one brightness each in a role.
	drawn := func(role layout.Role, brightness ...uint8) {
		t.Helper()
		w, err := r.Project.Store.Begin(store.Key{Stage: role.String(), Revision: 1})
		if err != nil {
			t.Fatal(err)
		}
		var images []byte
		for _, b := range brightness {
			for range world.Pixels {
				images = append(images, b)
			}
		}
		tensors := map[string]checkpoint.Tensor{"images": checkpoint.Bytes(images, len(brightness), world.Size, world.Size, world.Channels)}
		if err := checkpoint.WriteFile(filepath.Join(w.Dir(), "images.safetensors"), tensors); err != nil {
			t.Fatal(err)
		}
		e, err := w.Commit(t.Context(), store.Commit{})
		if err != nil {
			t.Fatal(err)
		}
		r.Found.Set(c.Action(role), lookup.Output{ID: e.Output})
	}
	drawn(layout.AlignmentImages, 10, 20)
	drawn(layout.FidelityImages, 30, 40)
	picture := New(t.Context(), r).Image
	for set, want := range map[string][]uint32{result.Alignment: {10, 20}, result.Fidelity: {30, 40}} {
		for i, brightness := range want {
			img, err := picture(trial, set, i)
			if err != nil || img == nil {
				t.Fatalf("%s %d: %v, %v", set, i, img, err)
			}
			if red, _, _, _ := img.At(0, 0).RGBA(); red>>8 != brightness {
				t.Errorf("%s %d has the brightness %d, want %d", set, i, red>>8, brightness)
			}
		}
		if img, err := picture(trial, set, 2); img != nil || err != nil {
			t.Errorf("%s has a third picture: %v, %v", set, img, err)
		}
	}
	r.Found.Set(c.Action(layout.FidelityImages), lookup.Output{ID: store.OutputID{1}})
	if img, err := New(t.Context(), r).Image(trial, result.Fidelity, 0); img != nil || err != nil {
		t.Errorf("images that are lost have a picture: %v, %v", img, err)
	}
}
