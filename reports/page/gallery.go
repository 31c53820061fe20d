package page

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/format"
)

// gallery is the data that report.js draws: pictures, which have the same prompts and
// initial noise across rows for every seed, and what rows win and lose by prompt.
// Repeated strings are stored once and referred to by index.
type gallery struct {
	Rows      []galleryRow   `json:"rows"`
	Reference int            `json:"reference"` // index of the row with which others are compared
	Chosen    []int          `json:"chosen"`    // indices of the rows that are shown at first
	Seeds     []gallerySeed  `json:"seeds"`
	Reads     []string       `json:"reads"` // what the gold recognised in a picture
	Prompts   []promptData   `json:"prompts"`
	Exchanges []exchangeData `json:"exchanges"`
	Kind      string         `json:"kind"` // format of the pictures: png or jpeg
}

// galleryRow is a row of the ablation table.
type galleryRow struct {
	Label string `json:"label"` // short name
	Name  string `json:"name"`  // full name, for URLs
	Href  string `json:"href,omitempty"`
	Text  string `json:"text"` // values of the row
}

// gallerySeed has the prompts of a seed and each row's pictures of them.
type gallerySeed struct {
	Seed    string          `json:"seed"`
	Prompts []promptData    `json:"prompts"`
	Trials  []*galleryTrial `json:"trials"` // by row; null if the row has no trial of the seed
}

type promptData struct {
	Text     string `json:"text"`
	Category string `json:"category"`
	Unseen   bool   `json:"unseen,omitempty"`
}

// galleryTrial has the verdicts and pictures of a trial. There is one letter per prompt:
// g, b or s for the gold's verdict good, bad or skip, v for its number, n for a picture without
// either, and - for no picture. The pictures are in a folder or data URLs.
type galleryTrial struct {
	ID      string   `json:"id"`
	Gold    string   `json:"gold"`
	Numbers []string `json:"numbers,omitempty"` // by the gold, where it gives some; empty where it gave none
	Reads   []int    `json:"reads"`
	Folder  string   `json:"folder,omitempty"`
	Full    []int    `json:"full,omitempty"` // positions of the pictures that also are in the folder as full pictures
	Data    []string `json:"data,omitempty"`
}

// exchangeData has what a row wins and loses, by prompt.
type exchangeData struct {
	Row    int   `json:"row"`
	Pairs  []int `json:"pairs"`
	Won    []int `json:"won"`
	Lost   []int `json:"lost"`
	Better []int `json:"better"`
	Worse  []int `json:"worse"`
}

// mostChosen is the number of rows whose pictures fit side by side in a window.
const mostChosen = 7

// mostPictured is the largest number of rows with pictures. A report of a thousand rows would have a
// million of them, which nobody looks through.
const mostPictured = 60

// gallery returns the gallery with the pictures of at most n prompts per seed. It writes
// the pictures into dir/images, or puts them into the gallery if dir is empty.
func (v *view) gallery(dir string, n int) (*gallery, error) {
	g := &gallery{Seeds: []gallerySeed{}, Chosen: []int{}, Exchanges: []exchangeData{}, Kind: v.kind(), Reference: max(0, v.index(v.Table.Reference))}
	for i, row := range v.Table.Rows {
		name := v.name(i, false)
		if name.Control {
			name.Text += " (control)"
		}
		g.Rows = append(g.Rows, galleryRow{name.Text, row.Label, name.Href, summary(v.Table, row)})
	}
	g.Chosen = foremost(v.Table, mostChosen)
	pictured := foremost(v.Table, mostPictured)
	if all := len(foremost(v.Table, len(v.Table.Rows))); all > len(pictured) {
		v.Unpictured = fmt.Sprintf("Pictures are of %d rows of %d: the reference, those on the front, and the first of the study.", len(pictured), all)
	}
	if v.Exchanges != nil {
		g.exchanges(v.Exchanges)
	}
	p := newPictures(v.Report, dir)
	if v.photographs() {
		trials := map[string]bool{}
		for _, i := range pictured {
			for _, id := range v.Table.Rows[i].Trials {
				trials[id] = len(p.rows[id]) > 0
			}
		}
		n = min(n, max(1, mostShown/max(1, len(trials))))
		p.full = budget{bytes: mostFull * 1e6 / max(1, len(trials)), full: n}
	}
	for _, seed := range v.Seeds {
		s := gallerySeed{Seed: seed}
		var chosen []int
		for i, row := range v.Table.Rows {
			id := trialOf(row, seed)
			if len(p.rows[id]) == 0 || !slices.Contains(pictured, i) {
				s.Trials = append(s.Trials, nil)
				continue
			}
			if chosen == nil {
				chosen = p.choose(p.rows[id], n)
				for _, k := range chosen {
					s.Prompts = append(s.Prompts, p.prompt(p.rows[id][k]))
				}
			}
			t, err := p.trial(id, chosen, s.Prompts)
			if err != nil {
				return nil, err
			}
			s.Trials = append(s.Trials, t)
		}
		if chosen != nil {
			g.Seeds = append(g.Seeds, s)
		}
	}
	g.Reads, v.Sizes = p.texts, v.sizes(dir == "", n, p.full)
	return g, nil
}

// foremost returns the indices of at most n rows that are most worth seeing: the reference, the rows on
// the front, and then others in the order of the study.
func foremost(t *compare.Table, n int) (list []int) {
	on := map[string]bool{}
	if t.Front != nil {
		for _, p := range t.Front.Points {
			on[p.Label] = p.On
		}
	}
	for _, wanted := range []func(compare.Row) bool{
		func(r compare.Row) bool { return r.Label == t.Reference },
		func(r compare.Row) bool { return on[r.Label] },
		func(compare.Row) bool { return true },
	} {
		for i, r := range t.Rows {
			if r.SameAs == "" && wanted(r) && len(list) < n && !slices.Contains(list, i) {
				list = append(list, i)
			}
		}
	}
	slices.Sort(list)
	return list
}

func (g *gallery) exchanges(x *compare.Exchanges) {
	for _, p := range x.Prompts {
		g.Prompts = append(g.Prompts, promptData{p.Text, p.Category, !p.Seen})
	}
	for _, e := range x.Rows {
		out := exchangeData{Row: e.Row}
		for _, c := range e.Counts {
			out.Pairs, out.Won, out.Lost = append(out.Pairs, c.Pairs), append(out.Won, c.Won), append(out.Lost, c.Lost)
			out.Better, out.Worse = append(out.Better, c.Better), append(out.Worse, c.Worse)
		}
		g.Exchanges = append(g.Exchanges, out)
	}
}

// most returns the largest number of prompts of a seed.
func (g *gallery) most() int {
	n := 0
	for _, s := range g.Seeds {
		n = max(n, len(s.Prompts))
	}
	return n
}

// script returns the gallery as a script for report.js. Its strings cannot end the script
// element that contains it, because encoding/json escapes <, > and &.
func (g *gallery) script() ([]byte, error) {
	b, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return append(append([]byte("window.ablate = "), b...), ";\n"...), nil
}

// pictures collects the pictures of trials, each once.
type pictures struct {
	report  Report
	dir     string           // empty if the pictures go into the gallery
	rows    map[string][]int // rows of samples by trial
	shown   map[string]bool  // prompts that earlier seeds show
	texts   []string         // what the gold recognised
	index   map[string]int   // index in texts
	written map[string]*galleryTrial
	full    budget
}

func newPictures(r Report, dir string) *pictures {
	p := &pictures{report: r, dir: dir, rows: map[string][]int{}, shown: map[string]bool{}, index: map[string]int{}, written: map[string]*galleryTrial{}}
	trial, set := r.Samples.Column("trial"), r.Samples.Column("set")
	for i := range r.Samples.Rows() {
		if set.Strings[i] == "alignment" {
			p.rows[trial.Strings[i]] = append(p.rows[trial.Strings[i]], i)
		}
	}
	return p
}

func (p *pictures) prompt(row int) promptData {
	s := p.report.Samples
	return promptData{s.Column("prompt").Strings[row], s.Column("category").Strings[row], !s.Column("seen").Bools[row]}
}

// choose picks at most n rows of samples for the gallery, in the order of drawing: half
// of them of the category combination, and the rest in equal parts of the other
// categories. Prompts that no earlier seed shows come first, each once, so that all
// prompts have pictures if there is room. Other rows fill the rest.
func (p *pictures) choose(rows []int, n int) []int {
	category, prompt := p.report.Samples.Column("category"), p.report.Samples.Column("prompt")
	var out []int
	taken := make([]bool, len(rows))
	count, seen := map[string]int{}, map[string]bool{}
	for pass := range 3 {
		for k, i := range rows {
			c, text := category.Strings[i], prompt.Strings[i]
			limit := max(1, n/6)
			if c == "combination" {
				limit = max(1, n/2)
			}
			fits := pass == 2 || count[c] < limit && !seen[text] && (pass == 1 || !p.shown[text])
			if len(out) < n && !taken[k] && fits {
				count[c]++
				seen[text], taken[k] = true, true
				out = append(out, k)
			}
		}
	}
	slices.Sort(out)
	for text := range seen {
		p.shown[text] = true
	}
	return out
}

// trial returns a trial's pictures of the chosen rows of its samples.
func (p *pictures) trial(id string, chosen []int, prompts []promptData) (*galleryTrial, error) {
	if t := p.written[id]; t != nil {
		return t, nil
	}
	t := &galleryTrial{ID: short(id)}
	p.written[id] = t
	if p.dir != "" {
		t.Folder = "images/" + short(id)
		if err := os.MkdirAll(filepath.Join(p.dir, "images", short(id)), 0o777); err != nil {
			return nil, err
		}
	}
	s := p.report.Samples
	var gold strings.Builder
	number, any := s.Column("gold"), false
	left, fits, shown := p.full.bytes, true, 0
	for at, k := range chosen {
		row := -1
		if k < len(p.rows[id]) && s.Column("prompt").Strings[p.rows[id][k]] == prompts[at].Text {
			row = p.rows[id][k]
		}
		b, full, err := p.picture(id, row)
		if err != nil {
			return nil, err
		}
		letter, text := "-", 0
		if b != nil {
			letter, text = verdictLetter(s.Column("verdict").Strings[row]), p.text(s.Column("read").Strings[row]+judgements(s, row))
		}
		if number != nil {
			text := ""
			if b != nil && number.Has(row) {
				letter, text, any = "v", format.Number(compare.Digits, number.Floats[row]), true
			}
			t.Numbers = append(t.Numbers, text)
		}
		gold.WriteString(letter)
		t.Reads = append(t.Reads, text)
		switch {
		case p.dir == "":
			t.Data = append(t.Data, base64.StdEncoding.EncodeToString(b))
		case b != nil:
			name := filepath.Join(p.dir, "images", short(id), strconv.Itoa(at))
			if err := write(name+"."+p.report.kind(), b); err != nil {
				return nil, err
			}
			p.full.any = p.full.any || full != nil
			if fits = fits && len(full) <= left; fits && full != nil {
				left -= len(full)
				t.Full = append(t.Full, at)
				if err := write(name+"-full."+p.report.kind(), full); err != nil {
					return nil, err
				}
			}
		}
		if fits {
			shown++
		}
	}
	if p.full.shown = max(p.full.shown, len(chosen)); !fits {
		p.full.full = min(p.full.full, shown)
	}
	if t.Gold = gold.String(); !any {
		t.Numbers = nil
	}
	return t, nil
}

// judgements returns the values by judges beside the gold of an image, as in ", judge vqa .800".
func judgements(samples *table.Table, row int) (out string) {
	for _, c := range samples.Columns {
		if name, ok := strings.CutPrefix(c.Name, "judge."); ok && c.Has(row) {
			out += ", judge " + name + " " + format.Number(compare.Digits, c.Floats[row])
		}
	}
	return out
}

// picture returns the encoded picture of a row of samples, nil if there is none, and the full
// picture if that is larger.
func (p *pictures) picture(trial string, row int) (thumb, full []byte, err error) {
	if row < 0 {
		return nil, nil, nil
	}
	img, err := p.report.Image(trial, "alignment", int(p.report.Samples.Column("index").Ints[row]))
	if err != nil || img == nil {
		return nil, nil, err
	}
	thumb, full, err = p.report.encode(img)
	if err != nil {
		err = fmt.Errorf("report: image: %w", err)
	}
	return thumb, full, err
}

// text returns the index of what the gold recognised.
func (p *pictures) text(read string) int {
	at, ok := p.index[read]
	if !ok {
		at = len(p.texts)
		p.index[read], p.texts = at, append(p.texts, read)
	}
	return at
}

func verdictLetter(verdict string) string {
	switch verdict {
	case "good":
		return "g"
	case "bad":
		return "b"
	case "":
		return "n"
	}
	return "s"
}

func short(id string) string { return id[:min(12, len(id))] }
