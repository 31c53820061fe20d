package stage

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/models/checkpoint"
	"ablate/models/random"
	"ablate/runner/world"
)

// TestPrompts: a longer list begins with the shorter one; lists of other names and seeds
// are others; lists that a training may use have no held-out prompt, others have; all
// seeds of a list differ.
func TestPrompts(t *testing.T) {
	a, e := newActions(t), NewEnv(nil)
	read := func(p PromptsParams) []Prompt {
		t.Helper()
		rows, err := ReadPrompts(a.run(e, Prompts, p, nil))
		if err != nil || len(rows) != p.Rows {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		return rows
	}
	long := read(PromptsParams{Seed: 1, List: LabelledList, Rows: 500})
	if short := read(PromptsParams{Seed: 1, List: LabelledList, Rows: 20}); !slices.Equal(short, long[:20]) {
		t.Error("a longer list begins with other rows")
	}
	seeds, categories := map[int64]bool{}, map[string]int{}
	for _, r := range long {
		if r.Split != Seen {
			t.Errorf("a training would see %+v", r)
		}
		seeds[r.Seed] = true
		categories[r.Category]++
	}
	if len(seeds) != len(long) || len(categories) != 4 {
		t.Errorf("%d seeds of %d rows, categories %v", len(seeds), len(long), categories)
	}
	for _, p := range []PromptsParams{{Seed: 2, List: LabelledList, Rows: 20}, {Seed: 1, List: UnlabelledList, Rows: 20}} {
		rows := read(p)
		if slices.Equal(texts(rows), texts(long[:20])) || rows[0].Seed == long[0].Seed {
			t.Errorf("%+v has the prompts or the seeds of another list", p)
		}
	}
	unseen := 0
	for _, r := range read(PromptsParams{Seed: 1, List: AlignmentList, Rows: 500, Unseen: true}) {
		if r.Split == Unseen {
			unseen++
		}
	}
	if unseen < 75 || unseen > 200 {
		t.Errorf("%d of 500 prompts are held out, want about a quarter", unseen)
	}
	_, captions := e.world.Images.Real(realSet, 20)
	if rows := read(PromptsParams{Seed: 1, List: FidelityList, Rows: 20, Captions: true}); !slices.Equal(texts(rows), captions) || rows[0].Split != "" {
		t.Errorf("captions %q, want %q", texts(rows), captions)
	}
}

// TestRowSeeds: the formula, written again; and of two rows whose first seeds are equal
// the later one has another.
func TestRowSeeds(t *testing.T) {
	const line, n = "1 draw evaluate", 100000
	seeds := rowSeeds(line, n)
	used, again := map[int64]bool{}, 0
	for i, s := range seeds {
		h := sha256.Sum256([]byte(fmt.Sprintf("%s %d 0", line, i)))
		first := 1 + int64(binary.BigEndian.Uint32(h[:4]))%math.MaxInt32
		if s != first {
			again++
			if !used[first] {
				t.Fatalf("row %d has the seed %d, want %d", i, s, first)
			}
		}
		if s < 1 || s >= 1<<31 || used[s] {
			t.Fatalf("row %d has the seed %d", i, s)
		}
		used[s] = true
	}
	if again == 0 { // of 100,000 rows two or three meet
		t.Error("no two rows meet, and the rule for them was not tried")
	}
}

// TestReadPrompts: an error names file and line.
func TestReadPrompts(t *testing.T) {
	const good = `{"index":0,"prompt":"two bars","seed":5}`
	for text, want := range map[string]string{
		good + "\n{":       ":2: ",
		good + "\n" + good: ":2: index 0 and seed 5; must be index 1",
		`{"index":0,"prompt":"two bars","seed":0}`:          ":1: index 0 and seed 0",
		`{"index":0,"prompt":"two bars","seed":5,"more":1}`: `:1: json: unknown field "more"`,
		strings.Repeat(" ", maxLine+1):                      ":1: the line has 65537 bytes",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, promptsFile), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPrompts(dir); err == nil || !strings.Contains(err.Error(), promptsFile+want) {
			t.Errorf("%.60q: error %v, want %q", text, err, want)
		}
	}
}

// TestReadPart: a part has its rows, and a list that ends before them is an error.
func TestReadPart(t *testing.T) {
	dir, text := t.TempDir(), ""
	for i := range 5 {
		text += fmt.Sprintf("{\"index\":%d,\"prompt\":\"two bars\",\"seed\":%d}\n", i, i+1)
	}
	if err := os.WriteFile(filepath.Join(dir, promptsFile), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	rows, err := readPrompts(dir, Part{From: 3, Rows: 2})
	if err != nil || len(rows) != 2 || rows[0].Index != 3 || rows[1].Index != 4 {
		t.Errorf("rows 3 and 4: %v, %v", rows, err)
	}
	if _, err := readPrompts(dir, Part{From: 4, Rows: 2}); err == nil || !strings.Contains(err.Error(), "rows 4 to 6 of a list of 5") {
		t.Errorf("rows 4 and 5 of 5: %v", err)
	}
}

// TestLabel: an annotator errs with the declared probability, and skips what the judge
// skips; labels of more images begin with the same ones.
func TestLabel(t *testing.T) {
	const n = 4000
	a, e := newActions(t), NewEnv(nil)
	prompts, verdicts := t.TempDir(), t.TempDir()
	var rows strings.Builder
	v := VerdictSet{}
	for i := range n {
		fmt.Fprintf(&rows, "{\"index\":%d,\"prompt\":\"two bars\",\"seed\":%d}\n", i, i+1)
		v.Labels, v.Read = append(v.Labels, []string{world.Good, world.Bad, world.Skip, world.Bad}[i%4]), append(v.Read, "")
	}
	if err := os.WriteFile(filepath.Join(prompts, promptsFile), []byte(rows.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	writeVerdicts(t, verdicts, v)
	l, err := ReadLabels(a.run(e, Label, LabelParams{Seed: 1, Noise: .1, List: LabelledList}, map[string]string{"prompts": prompts, "verdicts": verdicts}))
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for i, label := range l.Labels {
		if (v.Labels[i] == world.Skip) != (label == world.Skip) {
			t.Fatalf("image %d is %q to the judge and %q to the annotator", i, v.Labels[i], label)
		}
		if label != v.Labels[i] {
			wrong++
		}
	}
	if want := .1 * .75 * n; math.Abs(float64(wrong)-want) > 5*math.Sqrt(want) {
		t.Errorf("%d labels are wrong, want about %v", wrong, want)
	}
	r := random.Stream(1, "label", LabelledList, 3)
	if first := l.Labels[3]; first != world.Annotate(r, v.Labels[3], .1) {
		t.Errorf("label 3 is %q", first)
	}
}

// writeVerdicts writes an artifact of a judge.
func writeVerdicts(t *testing.T, dir string, sets ...VerdictSet) {
	t.Helper()
	if err := checkpoint.WriteJSON(filepath.Join(dir, verdictsFile), sets); err != nil {
		t.Fatal(err)
	}
}

// TestWrong: all of a group in random order before one of the next; how often it draws does
// not depend on how many are wanted.
func TestWrong(t *testing.T) {
	groups := [][]int{{1, 2, 3}, {4, 5}}
	orders := map[string]bool{}
	for i := range 50 {
		r := random.Stream(1, "test", "wrong", i)
		list := wrong(r, groups, 10)
		next := r.Uint64()
		for _, n := range []int{-1, 0, 1, 4, 5, 1000} {
			r := random.Stream(1, "test", "wrong", i)
			if got := wrong(r, groups, n); !slices.Equal(got, list[:min(max(n, 0), 5)]) || r.Uint64() != next {
				t.Fatalf("%d of %v are %v", n, list, got)
			}
		}
		first, second := slices.Sorted(slices.Values(list[:3])), slices.Sorted(slices.Values(list[3:]))
		if !slices.Equal(first, groups[0]) || !slices.Equal(second, groups[1]) {
			t.Fatalf("drawn %v", list)
		}
		orders[fmt.Sprint(list)] = true
	}
	if len(orders) < 8 {
		t.Errorf("only %d of 12 orders", len(orders))
	}
}
