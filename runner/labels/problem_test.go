package labels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestProblems: every bad row is a problem with its line, and nothing of it is read.
func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		format, text string
		want         []string
		read         int // labels and pairs
	}{
		"csv": {"csv", "prompt,image,rater,label,time\np,a,r,good,\n,a,r,good,\np,,r,bad,\np,b,r,fine,\np,c,r,-1,yesterday\np,d\np,\"e\nf\",r,1,\np,e,,0,2026-01-02T03:04:05+01:00\n", []string{
			`3: the prompt is empty; allowed: a text; fill it in, or remove the row`,
			`4: the name of the image is empty; allowed: a path, a hash or another name; fill it in, or remove the row`,
			`5: the label is "fine"; allowed: good, bad or skip, or 1, 0 or -1; correct it`,
			`6: "yesterday" is not a time, in time; allowed: 2026-01-02T15:04:05Z; correct it`,
			`7: it has 2 cells under 5 columns; allowed: a cell for each column; quote cells that have commas, and leave missing ones empty`,
			`8: the name of the image, "e\nf", has a control character; allowed: a name on one line; correct it`,
		}, 2},
		"not UTF-8": {"csv", "prompt,image,label\n\xff,a,good\np,\xff,good\n", []string{
			`2: the prompt, "\xff", is not UTF-8; allowed: UTF-8; write the file in UTF-8`,
			`3: the name of the image, "\xff", is not UTF-8; allowed: UTF-8; write the file in UTF-8`,
		}, 0},
		"long": {"csv", "prompt,image,label\n" + strings.Repeat("p", mostText+1) + ",a,good\n", []string{
			`2: the prompt has 65.5 kB; allowed: at most 65.5 kB; check how it was written`,
		}, 0},
		"pairs": {"jsonl", `{"prompt": "p", "image_a": "a", "image_b": "b", "label_a": 0.5, "votes_a": 2}
{"prompt": "p", "image_a": "a", "image_b": "b", "label_a": 0.7}
{"prompt": "p", "image_a": "a", "image_b": "a", "label_a": 1}
{"prompt": "p", "image_a": "a", "label_a": 1}
{"prompt": "p", "image_a": "a", "image_b": "b"}
{"prompt": "p", "image_a": "a", "image_b": "b", "label_a": 1, "votes_a": -1}
{"prompt": "p", "image_a": "a", "image_b": "b", "label_a": 1, "votes_b": 10001}
{"prompt": "p", "image_a": "a", "image_b": "b", "label_a": 1, "image": "c"}
[]
{"prompt": "p", "image": "c", "label": "skip"}
`, []string{
			`2: the label of the first image is 0.7; allowed: 1 where it is better, 0 where the other is, 0.5 for a tie; correct it`,
			`3: both images are "a"; allowed: two images; correct one`,
			`4: the name of the second image is empty; allowed: a path, a hash or another name; fill it in, or remove the row`,
			`5: "" is not a number, in label_a; allowed: a number; correct it`,
			`6: "-1" is not a number of votes, in votes_a; allowed: a whole number from 0 to 10000; correct it`,
			`7: "10001" is not a number of votes, in votes_b; allowed: a whole number from 0 to 10000; correct it`,
			`8: it has an image, and images of a pair; allowed: image and label, or image_a, image_b and label_a; make two rows of it`,
			`9: "[]" is not a JSON object; allowed: an object in each line; write one object a line, without commas between the lines`,
		}, 2},
		"tia2": {"tia2", `{"a": {"image": "a", "caption": "p", "human_labels": [0, 1, 2]},
"b": {"image": "b", "caption": "p", "human_labels": []},
"c": {"image": "c", "caption": "p", "human_labels": "1"},
"d": {"image": "d", "caption": "p", "human_labels": [1, null]}}`, []string{
			`1: a label is 2; allowed: 1 for good, 0 for bad, -1 for a skip; correct it`,
			`2: human_labels is empty; allowed: one label or more; correct it`,
			`3: human_labels is "1"; allowed: a list of whole numbers; correct it`,
			`4: human_labels is "[1, null]"; allowed: a list of whole numbers; correct it`,
		}, 0},
		"hpdv2": {"hpdv2", `[{"human_preference": [1, 1], "prompt": "p", "file_path": ["a", "b"]},
{"human_preference": [1, 0], "prompt": "p", "file_path": ["a"]},
{"human_preference": [2, -1], "prompt": "p", "file_path": ["a", "b"]},
{"human_preference": [1, 0], "prompt": "p", "file_path": ["a", "b"]}]`, []string{
			`1: human_preference is [1 1], of 2 images; allowed: [1, 0] or [0, 1], of two images; correct it`,
			`2: human_preference is [1 0], of 1 images; allowed: [1, 0] or [0, 1], of two images; correct it`,
			`3: human_preference is [2 -1], of 2 images; allowed: [1, 0] or [0, 1], of two images; correct it`,
		}, 1},
		"hpdv2 ranks": {"hpdv2", `[{"prompt": "p", "image_path": ["a", "b"], "rank": [1, 2, 3]},
{"prompt": "p", "image_path": ["a", "b"], "rank": [1, 2], "raw_annotations": [{"rank": [0, 1], "user_hash": "u"}, {"rank": [0], "user_hash": "v"}]},
{"prompt": "p", "image_path": ["a"], "rank": [1]},
{"prompt": "p", "image_path": ["a", "b"], "rank": [1, 2], "raw_annotation": [{"rank": [0, 1], "user_hash": "u"}, {"rank": [2, 1], "user_hash": "v"}]},
{"prompt": "p", "image_path": ["a", "b"], "rank": [1, 2], "raw_annotations": "none"},
{"prompt": "p", "image_path": ["a", "b"], "rank": [1, 2], "raw_annotations": [{"rank": [0, null], "user_hash": "u"}]},
{"prompt": "p", "image_path": ["a", null], "rank": [1, 2]}]`, []string{
			`1: the ranking has 3 values, and it has 2 images; allowed: one for each image; correct it`,
			`2: the ranking has 1 values, and it has 2 images; allowed: one for each image; correct it`,
			`3: 1 images are ranked; allowed: 2 to 64; correct it`,
			`5: raw_annotations is "none"; allowed: a list of objects with rank and user_hash; correct it`,
			`6: the rank of a rater is "[0, null]"; allowed: a list of numbers; correct it`,
			`7: image_path is "[\"a\", null]"; allowed: a list of texts; correct it`,
		}, 2},
		"hpdv3": {"hpdv3", `[{"prompt": "p", "path1": "a", "path2": "b", "choice_dist": [1, 2, 3]},
{"prompt": "p", "path1": "a", "path2": "b", "choice_dist": [-1, 2]},
{"prompt": "p", "path1": "a", "path2": "b", "choice_dist": []}]`, []string{
			`1: choice_dist is [1 2 3]; allowed: the votes for path1 and path2; correct it`,
			`2: the votes are -1 and 2; allowed: numbers from 0 to 10000; correct them`,
		}, 1},
		"pick-a-pic": {"pick-a-pic", `{"caption": "p", "image_0_uid": "a", "image_1_uid": "b", "label_0": 1, "label_1": 1, "has_label": true}
{"caption": "p", "image_0_uid": "a", "image_1_uid": "b", "label_0": 0.3, "label_1": 0.7}
{"caption": "p", "image_0_uid": "a", "image_1_uid": "b", "label_0": null, "label_1": 0.7}
{"caption": "p", "image_0_uid": "a", "image_1_uid": "b", "label_0": null, "label_1": null, "has_label": false}
{"caption": "p", "image_0_uid": "a", "image_1_uid": "b", "label_0": 0, "label_1": 1, "has_label": true}
`, []string{
			`1: label_0 is 1, and label_1 1; allowed: 1 and 0, 0 and 1, or 0.5 and 0.5; correct them`,
			`2: the label of the first image is 0.3; allowed: 1 where it is better, 0 where the other is, 0.5 for a tie; correct it`,
			`3: "" is not a number, in label_0; allowed: a number; correct it`,
		}, 1},
		"rapidata": {"rapidata", `{"prompt": "p", "image1_path": "a", "image2_path": "b", "votes_image1": 0, "votes_image2": 0}
{"prompt": "p", "image1_path": "a", "votes_image1": 1, "votes_image2": 0}
{"prompt": "p", "image1_path": "a", "image2_path": "b", "votes_image1": 1.5, "votes_image2": 0}
`, []string{
			`1: the votes are 0 and 0; allowed: one vote or more; correct them, or remove the row`,
			`2: the name of the second image is empty; allowed: a path, a hash or another name; fill it in, or remove the row`,
			`3: "1.5" is not a number of votes, in votes_image1; allowed: a whole number from 0 to 10000; correct it`,
		}, 0},
		"imagereward": {"imagereward", `[{"image_path": "a", "prompt_id": "1", "prompt": "p", "rank": 1},
{"image_path": "b", "prompt_id": "1", "prompt": "q", "rank": 1},
{"image_path": "a", "prompt_id": "1", "prompt": "p", "rank": 2},
{"image_path": "c", "prompt_id": "1", "prompt": "p", "rank": null},
{"image_path": "d", "prompt_id": "", "prompt": "p", "rank": 1},
{"image_path": "", "prompt_id": "1", "prompt": "p", "rank": 1},
{"image_path": "e", "prompt_id": "1", "prompt": "p", "rank": 1}]`, []string{
			`2: prompt_id "1" is of two prompts; allowed: one prompt for each prompt_id; correct it`,
			`3: the image "a" is in it before; allowed: one row for each image; remove one`,
			`4: "" is not a number, in rank; allowed: a number; correct it`,
			`5: prompt_id is empty; allowed: a name that the images of a prompt share; fill it in`,
			`6: the name of the image is empty; allowed: a path, a hash or another name; fill it in, or remove the row`,
		}, 1},
	} {
		path := write(t, "labels", c.text)
		r, err := Files(t.Context(), []string{path}, c.format)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range r.Problems {
			got = append(got, strings.TrimPrefix(p.String(), path+":"))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if n := len(r.Labels) + len(r.Pairs); n != c.read || r.Bad != len(c.want) || r.Err() != nil {
			t.Errorf("%s: %d labels and pairs, want %d; %d bad rows, want %d; %v", name, n, c.read, r.Bad, len(c.want), r.Err())
		}
	}
}

// TestFiles: a file that cannot be read to its end is an error, with the place.
func TestFiles(t *testing.T) {
	for format, c := range map[string]struct{ text, want string }{
		"csv":     {"prompt,image\n", ": it has the columns prompt, image; allowed: in the format csv, these: prompt, image_a, image_b, label_a, image, label; or prompt, image, label; or prompt, image_a, image_b, label_a; check the file and --as"},
		"jsonl":   {"", ": it has no columns; allowed: in the format jsonl, these: prompt, image_a, image_b, label_a, image, label; or prompt, image, label; or prompt, image_a, image_b, label_a; check the file and --as"},
		"tia2":    {"{\"a\": {\"image\": \"a\", \"caption\": \"p\", \"human_labels\": [1]},\n\"b\": {\"im", ":2: it does not parse from here on (unexpected EOF); allowed: a JSON list of objects; check how it was written"},
		"hpdv2":   {"PAR1, but no more", ": it is not an intact Parquet file: it does not end with PAR1, because its end is missing or it is encrypted; allowed: a Parquet file of flat columns; write it again"},
		"hpdv3":   {"[[1]]", `:1: "[1]" is not a JSON object; allowed: a list of objects; correct it`},
		"missing": {"", ""},
	} {
		path := write(t, "labels", c.text)
		r, err := Files(t.Context(), []string{path}, format)
		if format == "missing" {
			if err == nil || !strings.Contains(err.Error(), `"missing" is not a known format; allowed: jsonl, csv, tia2, rapidata, hpdv2, hpdv3, pick-a-pic, imagereward`) {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Err() == nil || r.Err().Error() != path+c.want {
			t.Errorf("%s: %v, want %s", format, r.Err(), c.want)
		}
	}
	if r, err := Files(t.Context(), []string{"nowhere"}, "csv"); err != nil || r.Err() == nil || r.Err().Error() != "nowhere: no such file or directory" {
		t.Error(r, err)
	}
	if r, err := Files(t.Context(), []string{write(t, "l", "prompt,image,label\n")}, "csv"); err != nil || r.Err() == nil || !strings.HasSuffix(r.Err().Error(), ": it has no rows; allowed: one row or more; check how it was written") {
		t.Error(r, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := Files(ctx, []string{"testdata/hpdv3.json"}, "hpdv3"); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestRepeats: a rater's second label of an image counts once for the agreement, and prompts in
// another form of Unicode are one.
func TestRepeats(t *testing.T) {
	r := files(t, "csv", write(t, "l", "prompt,image,rater,label\ncafé,a,r,good\ncafe\u0301,a,r,bad\ncafé ,a,s,good\np,b,r,0\np,b,,0\np,b,,0\n"))
	s, err := r.Summarize()
	if err != nil {
		t.Fatal(err)
	}
	// Ratings are g g of a, and b b b of b: no disagreement.
	if s.Prompts != 2 || s.Raters != 2 || s.Labels.Repeats != 1 || s.Labels.Agreement.Items != 2 || s.Labels.Agreement.Alpha.Estimate != 1 || s.Labels.Agreement.Equal.Estimate != 1 {
		t.Errorf("%+v %+v %+v", s, s.Labels, s.Labels.Agreement)
	}
}

// fuzz reads bytes as a file of a format, and writes and reads again what it has.
func fuzz(f *testing.F, name string, seeds ...string) {
	for file, format := range fixtures {
		if format == name {
			b, err := os.ReadFile("testdata/" + file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := Files(t.Context(), []string{path}, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Problems {
			if p.Wrong == "" || p.Do == "" && p.Allowed != "" || p.Line < 0 {
				t.Errorf("%+v", p)
			}
		}
		if len(r.Labels)+len(r.Pairs) == 0 {
			return
		}
		if _, err := r.Summarize(); err != nil {
			t.Fatal(err)
		}
		want, err := r.Digest()
		if err != nil {
			t.Fatal(err)
		}
		for format, write := range map[string]func(*bytes.Buffer) error{"jsonl": func(b *bytes.Buffer) error { return r.WriteJSONL(b) }, "csv": func(b *bytes.Buffer) error { return r.WriteCSV(b) }} {
			var out bytes.Buffer
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, out.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
			again, err := Files(t.Context(), []string{path}, format)
			if err != nil || len(again.Problems) > 0 {
				t.Fatal(err, again.Problems)
			}
			if got, err := again.Digest(); err != nil || got != want {
				t.Fatal(fmt.Sprintf("%s: another digest", format), err, out.String())
			}
		}
	})
}

func FuzzJSONL(f *testing.F) {
	fuzz(f, "jsonl", `{"prompt": "p", "image": "a", "rater": "r", "label": "good", "time": "2026-01-02T03:04:05Z"}`+"\n"+`{"prompt": "p", "image_a": "a", "image_b": "b", "label_a": -0, "votes_a": 1}`)
}

func FuzzCSV(f *testing.F) {
	fuzz(f, "csv", "prompt,image,rater,label,time\n\"p\r\nq\",a,r,good,2026-01-02T03:04:05Z\n", "prompt;image_a;image_b;label_a;votes_a\np;a;b;.5;2\n")
}
func FuzzTIA2(f *testing.F)        { fuzz(f, "tia2") }
func FuzzRapidata(f *testing.F)    { fuzz(f, "rapidata") }
func FuzzHPDv2(f *testing.F)       { fuzz(f, "hpdv2") }
func FuzzHPDv3(f *testing.F)       { fuzz(f, "hpdv3") }
func FuzzPickAPic(f *testing.F)    { fuzz(f, "pick-a-pic") }
func FuzzImageReward(f *testing.F) { fuzz(f, "imagereward") }
