package page

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
)

// gallery is what report.js shows of the samples: for every seed the same
// prompts and initial noise across rows. Strings are in tables, for they repeat.
type gallery struct {
	Rows  []galleryRow  `json:"rows"`
	Seeds []gallerySeed `json:"seeds"`
	Reads []string      `json:"reads"` // what the parser read
}

// galleryRow is a row of the ablation table.
type galleryRow struct {
	Label string `json:"label"`
	Text  string `json:"text"` // its figures
}

// gallerySeed is one seed's prompts, and each row's pictures of them.
type gallerySeed struct {
	Seed    string          `json:"seed"`
	Prompts []galleryPrompt `json:"prompts"`
	Trials  []*galleryTrial `json:"trials"` // by row; null without one
}

type galleryPrompt struct {
	Text     string `json:"text"`
	Category string `json:"category"`
	Unseen   bool   `json:"unseen,omitempty"`
}

// galleryTrial holds a letter a prompt, g, b or s as the gold judged it and -
// for no picture, and where the pictures are: a folder, or data URLs.
type galleryTrial struct {
	ID     string   `json:"id"`
	Gold   string   `json:"gold"`
	Reads  []int    `json:"reads"`
	Folder string   `json:"folder,omitempty"`
	Data   []string `json:"data,omitempty"`
}

// gallery gathers the samples with at most n prompts a seed. Pictures go into
// dir/images, or into the gallery itself where dir is empty. size is their bytes.
func (r Report) gallery(dir string, n int) (g *gallery, size int, err error) {
	g = &gallery{}
	rows := map[string][]int{} // rows of samples by trial
	trial, set := r.Samples.Column("trial"), r.Samples.Column("set")
	for i := range r.Samples.Rows() {
		if set.Strings[i] == "alignment" {
			rows[trial.Strings[i]] = append(rows[trial.Strings[i]], i)
		}
	}
	prompt, category, read := r.Samples.Column("prompt"), r.Samples.Column("category"), r.Samples.Column("read")
	verdict, seen, index := r.Samples.Column("verdict"), r.Samples.Column("seen"), r.Samples.Column("index")
	reads := map[string]int{}
	for _, row := range r.Table.Rows {
		g.Rows = append(g.Rows, galleryRow{row.Name(), summary(r.Table, row)})
	}
	written := map[string]*galleryTrial{}
	for _, name := range r.Seeds {
		s := gallerySeed{Seed: name}
		var chosen []int
		for _, row := range r.Table.Rows {
			id := trialOf(row, name)
			if len(rows[id]) == 0 || row.SameAs != "" {
				s.Trials = append(s.Trials, nil)
				continue
			}
			if chosen == nil {
				chosen = r.choose(rows[id], n)
				for _, k := range chosen {
					i := rows[id][k]
					s.Prompts = append(s.Prompts, galleryPrompt{prompt.Strings[i], category.Strings[i], !seen.Bools[i]})
				}
			}
			if t := written[id]; t != nil {
				s.Trials = append(s.Trials, t)
				continue
			}
			t := &galleryTrial{ID: short(id)}
			if dir != "" {
				t.Folder = "images/" + short(id)
				if err := os.MkdirAll(filepath.Join(dir, "images", short(id)), 0o777); err != nil {
					return nil, 0, err
				}
			}
			var gold strings.Builder
			for p, k := range chosen {
				letter, text := "-", 0
				if k < len(rows[id]) && prompt.Strings[rows[id][k]] == s.Prompts[p].Text {
					i := rows[id][k]
					img, err := r.Image(id, "alignment", int(index.Ints[i]))
					if err != nil {
						return nil, 0, err
					}
					if img != nil {
						var b bytes.Buffer
						if err := png.Encode(&b, img); err != nil {
							return nil, 0, fmt.Errorf("report: image: %w", err)
						}
						size += b.Len()
						letter = map[string]string{"good": "g", "bad": "b", "skip": "s"}[verdict.Strings[i]]
						if letter == "" {
							letter = "s"
						}
						at, ok := reads[read.Strings[i]]
						if !ok {
							at = len(g.Reads)
							reads[read.Strings[i]] = at
							g.Reads = append(g.Reads, read.Strings[i])
						}
						text = at
						if dir == "" {
							t.Data = append(t.Data, base64.StdEncoding.EncodeToString(b.Bytes()))
						} else if err := write(filepath.Join(dir, "images", short(id), fmt.Sprintf("%d.png", p)), b.Bytes()); err != nil {
							return nil, 0, err
						}
					}
				}
				if letter == "-" && dir == "" {
					t.Data = append(t.Data, "")
				}
				gold.WriteString(letter)
				t.Reads = append(t.Reads, text)
			}
			t.Gold = gold.String()
			written[id] = t
			s.Trials = append(s.Trials, t)
		}
		if chosen != nil {
			g.Seeds = append(g.Seeds, s)
		}
	}
	return g, size, nil
}

// most is the number of prompts of the seed with the most.
func (g *gallery) most() int {
	n := 0
	for _, s := range g.Seeds {
		n = max(n, len(s.Prompts))
	}
	return n
}

// script is the gallery as a script that report.js finds. Markup in it cannot
// end the element it may stand in: encoding/json escapes <, > and &.
func (g *gallery) script() ([]byte, error) {
	b, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return append(append([]byte("window.ablateGallery = "), b...), ";\n"...), nil
}

// choose picks rows of samples for the gallery: in the order of drawing, half of
// them combinations and the rest in equal parts of the other categories, a
// prompt once; then whatever there is more of.
func (r Report) choose(rows []int, n int) []int {
	category, prompt := r.Samples.Column("category"), r.Samples.Column("prompt")
	var out []int
	taken := make([]bool, len(rows))
	count, seen := map[string]int{}, map[string]bool{}
	for pass := range 2 {
		for k, i := range rows {
			c, p := category.Strings[i], prompt.Strings[i]
			limit := max(1, n/6)
			if c == "combination" {
				limit = max(1, n/2)
			}
			if len(out) < n && !taken[k] && (pass > 0 || count[c] < limit && !seen[p]) {
				count[c]++
				seen[p], taken[k] = true, true
				out = append(out, k)
			}
		}
	}
	return out
}

func short(id string) string { return id[:min(12, len(id))] }
