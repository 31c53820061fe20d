package stage

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"ablate/models/random"
	"ablate/models/shapes"
)

func byName(list []Metric) map[string]Metric {
	m := map[string]Metric{}
	for _, x := range list {
		m[x.Name] = x
	}
	return m
}

// TestFidelityMetrics: every figure has its number of samples and its floor, real
// against real; other real images are at the floor, and images of one colour
// far from it.
func TestFidelityMetrics(t *testing.T) {
	const n = 200
	others, _ := realSet("real once more", n)
	e := &Env{}
	r, err := e.reference(n)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := e.reference(n); err != nil || again != r {
		t.Errorf("the reference is made anew, %v", err)
	}
	list, err := fidelityMetrics(r, others)
	if err != nil {
		t.Fatal(err)
	}
	got := byName(list)
	want := []string{"coverage", "cmmd", "density", "frechet", "kid", "precision", "recall"}
	if len(got) != 2*len(want) || len(list) != len(got) {
		t.Errorf("figures %v, want %v and each with .real", slices.Sorted(maps.Keys(got)), want)
	}
	bad := make([]uint8, n*shapes.Pixels)
	for i := range bad {
		bad[i] = uint8(i / shapes.Pixels) // flat: each image has one grey
	}
	if list, err = fidelityMetrics(r, bad); err != nil {
		t.Fatal(err)
	}
	far := byName(list)
	for _, name := range want {
		a, floor, b := got["fidelity."+name], got["fidelity."+name+".real"], far["fidelity."+name]
		if a.N != n || floor.N != n || b.N != n {
			t.Errorf("%s stands on %d, %d and %d images, want %d", name, a.N, floor.N, b.N, n)
		}
		if far["fidelity."+name+".real"] != floor {
			t.Errorf("%s: the floor is %v, then %v", name, floor, far["fidelity."+name+".real"])
		}
		if math.Abs(a.Value-floor.Value) > .2*math.Abs(b.Value-floor.Value) {
			t.Errorf("%s: real images %v from the floor %v, flat ones %v", name, a.Value, floor.Value, b.Value)
		}
	}
	for _, c := range []struct {
		n     int
		there []string
	}{{1, []string{"cmmd"}}, {5, []string{"cmmd", "frechet", "kid"}}, {6, want}} {
		r, err := e.reference(c.n)
		if err != nil {
			t.Fatal(err)
		}
		few, err := fidelityMetrics(r, others[:c.n*shapes.Pixels])
		var names []string
		for _, m := range few {
			if name := strings.TrimPrefix(m.Name, "fidelity."); !strings.HasSuffix(name, ".real") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		if slices.Sort(c.there); err != nil || !slices.Equal(names, c.there) {
			t.Errorf("of %d images there are %v, %v, want %v", c.n, names, err, c.there)
		}
	}
}

// TestDiversity: renders are as diverse as renders, one picture for every prompt
// is not at all, and prompts with one image or an incomplete one count nothing.
func TestDiversity(t *testing.T) {
	var prompts []shapes.Prompt
	var readings []shapes.Reading
	var images, same []uint8
	once := map[shapes.Prompt][]uint8{}
	add := func(p shapes.Prompt, i int) {
		img := make([]float32, shapes.Pixels)
		r := random.Stream(0, "test", "diversity", i)
		shapes.NewScene(r, p).Render(r, img)
		pixels := make([]uint8, shapes.Pixels)
		quantize(img, pixels)
		if once[p] == nil {
			once[p] = pixels
		}
		prompts, readings = append(prompts, p), append(readings, read(pixels)...)
		images, same = append(images, pixels...), append(same, once[p]...)
	}
	complete := 0
	for _, e := range shapes.Prompts().All() {
		if !e.Prompt.Complete() {
			add(e.Prompt, len(prompts))
			add(e.Prompt, len(prompts))
			continue
		}
		if complete++; complete > 20 {
			break
		}
		for range complete%4 + 1 { // 2, 3, 4 or 1: five prompts have one
			add(e.Prompt, len(prompts))
		}
	}
	good := 0
	for i, p := range prompts {
		if p.Complete() && readings[i].Judge(p) == shapes.Good {
			good++
		}
	}
	got := byName(diversity(prompts, readings, images))
	for _, name := range []string{"diversity", "diversity.vendi"} {
		a, floor := got[name], got[name+".real"]
		if a.N != floor.N || a.N > good-4 || a.N < good-12 {
			t.Errorf("%s stands on %d images and its floor on %d, of %d aligned ones", name, a.N, floor.N, good)
		}
		if math.Abs(a.Value-floor.Value) > .1*floor.Value {
			t.Errorf("%s of renders is %v, of others %v", name, a.Value, floor.Value)
		}
	}
	if v := got["diversity.vendi"].Value; v < 1.2 || v > 2 {
		t.Errorf("two renders of a prompt have the Vendi score %v", v)
	}
	got = byName(diversity(prompts, readings, same))
	if d, v := got["diversity"].Value, got["diversity.vendi"].Value; d > 1e-6 || math.Abs(v-1) > 1e-6 {
		t.Errorf("the same picture for each prompt has the diversity %v and the Vendi score %v, want 0 and 1", d, v)
	}
	for _, m := range diversity(nil, nil, nil) {
		if m.N != 0 {
			t.Errorf("without images %v", m)
		}
	}
}
