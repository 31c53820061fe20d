package labels

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fixtures are the files of testdata/make.py, with their formats.
var fixtures = map[string]string{
	"tia2.json": "tia2", "hpdv2-train.json": "hpdv2", "hpdv2-test.json": "hpdv2", "hpdv3.json": "hpdv3", "rapidata.parquet": "rapidata",
	"pick-a-pic.parquet": "pick-a-pic", "pick-a-pic-no-images.parquet": "pick-a-pic",
	"imagereward.json": "imagereward", "imagereward-rows.json": "imagereward", "imagereward-rows.parquet": "imagereward",
}

// files reads files, which must have no problem.
func files(t *testing.T, format string, paths ...string) *Read {
	t.Helper()
	r, err := Files(t.Context(), paths, format)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Error(p)
	}
	return r
}

func digest(t *testing.T, s *Set) string {
	t.Helper()
	d, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestKnown compares what is read of each fixture with what testdata/known.py computes of it.
func TestKnown(t *testing.T) {
	type answers struct {
		Prompts, Images, Raters, Labels, Skips, Pairs, Votes, Repeats int
		Good, Ties                                                    float64
		Agreement                                                     *struct {
			Items        int
			Alpha, Equal float64
			Flips        *float64
		}
	}
	b, err := os.ReadFile("testdata/known.json")
	if err != nil {
		t.Fatal(err)
	}
	var known map[string]answers
	if err := json.Unmarshal(b, &known); err != nil {
		t.Fatal(err)
	}
	for name, format := range fixtures {
		want, ok := known[name]
		if !ok {
			t.Errorf("known.json has no %s", name)
		}
		sum, err := files(t, format, "testdata/"+name).Summarize()
		if err != nil {
			t.Fatal(err)
		}
		got := answers{Prompts: sum.Prompts, Images: sum.Images, Raters: sum.Raters}
		var a *Agreement
		if l := sum.Labels; l != nil {
			got.Labels, got.Skips, got.Good, got.Repeats, a = l.Labels, l.Skips, l.Good, l.Repeats, l.Agreement
		}
		if p := sum.Pairs; p != nil {
			got.Pairs, got.Votes, got.Ties, got.Repeats, a = p.Pairs, p.Votes, p.Ties, p.Repeats, p.Agreement
		}
		if (a == nil) != (want.Agreement == nil) {
			t.Errorf("%s: agreement %v, want %v", name, a, want.Agreement)
		} else if a != nil {
			w := want.Agreement
			if a.Items != w.Items || math.Abs(a.Alpha.Estimate-w.Alpha) > 1e-9 || math.Abs(a.Equal.Estimate-w.Equal) > 1e-9 ||
				(a.Flips == nil) != (w.Flips == nil) || a.Flips != nil && math.Abs(a.Flips.Estimate-*w.Flips) > 1e-9 {
				t.Errorf("%s: agreement %+v, want %+v", name, a, w)
			}
			if a.Alpha.Low > a.Alpha.Estimate || a.Alpha.High < a.Alpha.Estimate {
				t.Errorf("%s: the interval of %+v lacks the estimate", name, a.Alpha)
			}
		}
		want.Agreement = nil
		if d := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-12)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestRows reads a row of each layout, and lists what is not read.
func TestRows(t *testing.T) {
	for name, want := range map[string]struct {
		at    int
		label Label
		pair  Pair
		left  []string
		rows  int
		none  int // rows without a label
	}{
		"tia2.json":        {rows: 40, label: Label{Prompt: "a realistic photo of an airplane and an apple", Image: "image_0_3_4.jpg", Value: Bad, Source: "tia2.json:2"}},
		"hpdv2-train.json": {rows: 30, pair: Pair{Prompt: "a train  in the rain", A: "0_a.jpg", B: "0_b.jpg", Rater: "u0", Split: "train", Source: "hpdv2-train.json:2"}},
		"hpdv2-test.json":  {rows: 5, at: 96, pair: Pair{Prompt: "a clock", A: "00009_0.jpg", B: "00009_1.jpg", Split: "test", Source: "hpdv2-test.json:214"}},
		"hpdv3.json": {rows: 20, left: []string{"confidence"}, at: 1, pair: Pair{Prompt: "a red cube on a blue ball", A: "images/1.jpg", B: "images/1x.jpg", Value: 1, VotesA: 5, VotesB: 3,
			ModelA: "sdxl", ModelB: "kolors", Source: "hpdv3.json:11"}},
		"pick-a-pic.parquet": {rows: 30, none: 3, left: []string{"are_different", "best_image_uid", "image_0_url", "image_1_url", "jpg_0", "jpg_1", "num_example_per_prompt", "ranking_id"},
			pair: Pair{Prompt: "two cats", A: "uid0", B: "uid0x", Rater: "1", Value: .5, ModelA: "flux", ModelB: "sdxl", Time: time.Date(2023, 1, 2, 3, 4, 1, 0, time.UTC), Source: "pick-a-pic.parquet:2"}},
		"rapidata.parquet": {rows: 25, left: []string{"detailed_results", "image1.bytes", "image2.bytes"},
			pair: Pair{Prompt: "a photo of a café", A: "kolors/0.jpg", B: "flux/0.jpg", VotesB: 1, ModelA: "kolors", ModelB: "flux", Source: "rapidata.parquet:1"}},
		"imagereward.json": {rows: 10, left: []string{"id"}, at: 1, pair: Pair{Prompt: "deathly portal to the abyss, ultra detailed, warm interior light, cinematic shot, photorealistic, octane render, high definition, fine details, sinister tones, 8 k, mcbess mood,",
			A: "part-005658/images/0040/45b0de4d-5a57-4ae3-8810-ffbd328204fd.webp", B: "part-005658/images/0040/f24a2c01-b1ed-4d4f-ba23-5ba5755b1ce7.webp", Value: 1, Source: "imagereward.json:2"}},
		"imagereward-rows.json": {rows: 16, left: []string{"classification", "fidelity_rating", "image_amount_in_total", "image_text_alignment_rating", "overall_rating"},
			pair: Pair{Prompt: "a red cube on a blue ball", A: "images/train/0/0.webp", B: "images/train/0/1.webp", Value: 1, Source: "imagereward-rows.json:2"}},
	} {
		r := files(t, fixtures[name], "testdata/"+name)
		if r.Rows != want.rows || r.Unlabeled != want.none || !slices.Equal(r.Left, want.left) {
			t.Errorf("%s: %d rows, %d without a label, columns %q are not read", name, r.Rows, r.Unlabeled, r.Left)
		}
		if len(r.Labels) > 0 {
			if d := cmp.Diff(want.label, r.Labels[want.at]); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		} else if d := cmp.Diff(want.pair, r.Pairs[want.at]); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestDigest: what a set says is the same in other formats, in another order, and with other
// spaces and forms of Unicode; what it does not say is not.
func TestDigest(t *testing.T) {
	if a, b := files(t, "imagereward", "testdata/imagereward-rows.json"), files(t, "imagereward", "testdata/imagereward-rows.parquet"); digest(t, &a.Set) != digest(t, &b.Set) {
		t.Error("Parquet and JSON differ")
	}
	if a, b := files(t, "pick-a-pic", "testdata/pick-a-pic.parquet"), files(t, "pick-a-pic", "testdata/pick-a-pic-no-images.parquet"); digest(t, &a.Set) != digest(t, &b.Set) {
		t.Error("with and without images differ")
	}
	for name, format := range fixtures {
		r := files(t, format, "testdata/"+name)
		want := digest(t, &r.Set)
		for as, write := range map[string]func(*bytes.Buffer) error{"jsonl": func(b *bytes.Buffer) error { return r.WriteJSONL(b) }, "csv": func(b *bytes.Buffer) error { return r.WriteCSV(b) }} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "labels")
			if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
			again := files(t, as, path)
			if digest(t, &again.Set) != want {
				t.Errorf("%s: the digest of its %s is another", name, as)
			}
			if d := cmp.Diff(r.Set, again.Set); d != "" {
				t.Errorf("%s as %s:\n%s", name, as, d)
			}
		}
		slices.Reverse(r.Labels)
		slices.Reverse(r.Pairs)
		for i, p := range r.Pairs {
			r.Pairs[i].A, r.Pairs[i].B, r.Pairs[i].VotesA, r.Pairs[i].VotesB, r.Pairs[i].ModelA, r.Pairs[i].ModelB, r.Pairs[i].Value = p.B, p.A, p.VotesB, p.VotesA, p.ModelB, p.ModelA, 1-p.Value
			r.Pairs[i].Prompt = strings.ReplaceAll("\t"+p.Prompt, "é", "e\u0301")
		}
		if got := digest(t, &r.Set); got != want {
			t.Errorf("%s: the digest depends on the order or the form", name)
		}
		change := []func(*Set){}
		if len(r.Labels) > 0 {
			change = append(change, func(s *Set) { s.Labels[0].Value = Skip + "s" }, func(s *Set) { s.Labels = s.Labels[1:] }, func(s *Set) { s.Labels[1].Rater = "x" })
		} else {
			change = append(change, func(s *Set) { s.Pairs[0].VotesA++ }, func(s *Set) { s.Pairs = s.Pairs[1:] }, func(s *Set) { s.Pairs[1].Split = "x" })
		}
		for i, f := range change {
			f(&r.Set)
			got := digest(t, &r.Set)
			if got == want {
				t.Errorf("%s: change %d does not change the digest", name, i)
			}
			want = got
		}
	}
}
