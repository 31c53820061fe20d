package stage

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"ablate/models/random"
	"ablate/runner/world"
)

func byName(list []Metric) map[string]Metric {
	m := map[string]Metric{}
	for _, x := range list {
		m[x.Name] = x
	}
	return m
}

// TestFidelityMetrics: every metric has its number of samples and its floor. Other real
// images are at the floor, and images of one colour are far from it.
func TestFidelityMetrics(t *testing.T) {
	const n = 200
	w := world.Shapes()
	others, _ := w.Images.Real("real once more", n)
	e := &Env{world: w}
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
	bad := make([]uint8, n*world.Pixels)
	for i := range bad {
		bad[i] = uint8(i / world.Pixels) // flat: each image has one grey
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
		few, err := fidelityMetrics(r, others[:c.n*world.Pixels])
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

// TestDiversity: the diversity of rendered images relative to rendered images is 1, and it
// is 0 if all images of a prompt are the same. Prompts with one image and incomplete
// prompts do not count.
func TestDiversity(t *testing.T) {
	e := NewEnv(nil)
	var prompts []Prompt
	var images, same []uint8
	once := map[string][]uint8{}
	add := func(p world.Prompt, i int) {
		pixels, err := e.world.Images.Showing(fmt.Sprint("test ", i), []string{p.Text})
		if err != nil {
			t.Fatal(err)
		}
		if once[p.Text] == nil {
			once[p.Text] = pixels
		}
		prompts = append(prompts, Prompt{Prompt: p.Text, Complete: p.Complete})
		images, same = append(images, pixels...), append(same, once[p.Text]...)
	}
	complete := 0
	seen := map[string]bool{}
	for i := 0; complete < 60; i++ {
		p := e.world.Prompts.Draw(random.Stream(1, "test", "diversity", i), false)
		if seen[p.Text] {
			continue
		}
		seen[p.Text] = true
		if !p.Complete {
			add(p, len(prompts))
			add(p, len(prompts))
			continue
		}
		for range complete%4 + 1 { // 1, 2, 3 or 4: a quarter of the prompts have one
			add(p, len(prompts))
		}
		complete++
	}
	judge := func(images []uint8) []string {
		v, err := e.judge(images, texts(prompts))
		if err != nil {
			t.Fatal(err)
		}
		return v.Labels
	}
	measure := func(images []uint8) map[string]Metric {
		list, err := diversity(e.world.Images, prompts, judge(images), images)
		if err != nil {
			t.Fatal(err)
		}
		return byName(list)
	}
	good := map[string]int{}
	for i, l := range judge(images) {
		if prompts[i].Complete && l == world.Good {
			good[prompts[i].Prompt]++
		}
	}
	pairs := 0 // images of prompts with two good ones or more
	for _, n := range good {
		if n > 1 {
			pairs += n
		}
	}
	got := measure(images)
	for _, name := range []string{"diversity", "diversity.vendi"} {
		a, floor := got[name], got[name+".real"]
		if a.N != floor.N || a.N != pairs || pairs < 60 {
			t.Errorf("%s is of %d images and its floor of %d, want %d", name, a.N, floor.N, pairs)
		}
		if math.Abs(a.Value-floor.Value) > .1*floor.Value {
			t.Errorf("%s of renders is %v, of others %v", name, a.Value, floor.Value)
		}
	}
	if v := got["diversity.vendi"].Value; v < 1.2 || v > 2 {
		t.Errorf("two renders of a prompt have the Vendi score %v", v)
	}
	got = measure(same)
	if d, v := got["diversity"].Value, got["diversity.vendi"].Value; d > 1e-6 || math.Abs(v-1) > 1e-6 {
		t.Errorf("the same picture for each prompt has the diversity %v and the Vendi score %v, want 0 and 1", d, v)
	}
	none, err := diversity(e.world.Images, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range none {
		if m.N != 0 {
			t.Errorf("without images %v", m)
		}
	}
}
