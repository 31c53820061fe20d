package labels

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ablate/runner/phrase"
	"ablate/runner/rows"
)

// Limits on what is read.
const (
	mostText  = 64 << 10   // bytes of a prompt or a name
	mostSaid  = 20_000_000 // labels, pairs and votes of a set, which is kept in memory
	mostImage = 64         // images that a row ranks
	mostVotes = 10_000     // votes of a pair for one image
)

// Read is a set as it was read.
type Read struct {
	Set
	Rows      int       // number of rows of the files
	Unlabeled int       // rows that have no label, by what the set itself says
	Bad       int       // rows with a problem, of which nothing is read
	Problems  []Problem // in the order of files and lines
	Unlisted  int       // number of further problems
	Left      []string  // columns of the files that are not read
}

// Err returns an error with the files that were not read to their ends.
func (r *Read) Err() error {
	var list []error
	for _, p := range r.Problems {
		if p.Fatal {
			list = append(list, errors.New(p.String()))
		}
	}
	return errors.Join(list...)
}

// reader reads files.
type reader struct {
	Read
	format format
	text   map[string]string // equal texts share memory
	said   int               // labels, pairs and votes
	group  map[string]*ranked
	groups []*ranked
}

// Files reads files of a format. An error is about the arguments; what is wrong in the files is
// in the result.
func Files(ctx context.Context, paths []string, name string) (*Read, error) {
	i := slices.IndexFunc(formats, func(f format) bool { return f.name == name })
	if i < 0 {
		return nil, fmt.Errorf("%q is not a known format; allowed: %s", name, strings.Join(Formats(), ", "))
	}
	r := newReader(formats[i])
	for _, path := range paths {
		if err := r.file(ctx, path); err != nil {
			return nil, err
		}
	}
	r.rank()
	return &r.Read, nil
}

func newReader(f format) *reader {
	return &reader{format: f, text: map[string]string{}, group: map[string]*ranked{}}
}

func (r *reader) file(ctx context.Context, path string) error {
	in, left, err := r.format.open(path)
	if err != nil {
		r.stop(path, 0, err)
		return nil
	}
	defer in.Close()
	r.leave(left)
	return r.rows(ctx, path, in)
}

// open opens a file as what it begins like. left are columns that will not be read.
func (f format) open(path string) (in source, left []string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return in, nil, err
	}
	head, _ := bufio.NewReader(file).Peek(64)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return in, nil, errors.Join(err, file.Close())
	}
	in.Closer = file
	if bytes.HasPrefix(head, []byte("PAR1")) {
		p, err := rows.OpenParquet(path, f.columns()...)
		if err != nil {
			return in, nil, errors.Join(err, file.Close())
		}
		in.Reader = p
		return in, p.Left, nil
	}
	if in.Reader, err = f.reader(head, file); err != nil {
		return in, nil, errors.Join(err, file.Close())
	}
	return in, nil, nil
}

// reader returns a reader of a text.
func (f format) reader(head []byte, in io.ReadSeeker) (rows.Reader, error) {
	switch {
	case f.csv:
		return rows.CSV(in)
	case f.named || bytes.HasPrefix(bytes.TrimSpace(bytes.TrimPrefix(head, rows.BOM)), []byte("[")):
		return rows.JSON(in)
	}
	return rows.JSONL(in)
}

type source struct {
	rows.Reader
	io.Closer
}

// rows reads the rows of a file.
func (r *reader) rows(ctx context.Context, path string, in rows.Reader) error {
	header := in.Header()
	if len(header) == 0 { // what is wrong with the first row is why there are no columns
		if _, line, err := in.Next(); err != nil && err != io.EOF {
			r.stop(path, line, err)
			return nil
		}
	}
	l, err := r.format.layout(header)
	if err != nil {
		r.stop(path, 0, err)
		return nil
	}
	w := row{index: map[string]int{}, split: split(path)}
	for i, name := range header {
		w.index[name] = i
	}
	r.leave(slices.DeleteFunc(slices.Clone(header), func(name string) bool { return slices.Contains(l.columns, name) || slices.Contains(l.more, name) }))
	n := 0
	for ; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		cells, line, err := in.Next()
		if err == io.EOF {
			break
		}
		bad := (*rows.Wrong)(nil)
		if err != nil && !errors.As(err, &bad) {
			r.stop(path, line, err)
			return nil
		}
		r.Rows++
		if bad == nil {
			w.cells, w.source = cells, fmt.Sprintf("%s:%d", filepath.Base(path), line)
			bad = r.take(l, w)
		}
		if bad != nil {
			r.problem(Problem{path, line, bad.What, bad.Allowed, bad.Do, false})
		}
		if r.said > mostSaid {
			r.stop(path, line, &rows.Wrong{What: "the files have more than " + phrase.Count(mostSaid, "judgement"), Allowed: "fewer", Do: "import parts of the set"})
			return nil
		}
	}
	if n == 0 {
		r.stop(path, 0, &rows.Wrong{What: "it has no rows", Allowed: "one row or more", Do: "check how it was written"})
	}
	return nil
}

// take adds what a row says, all or nothing.
func (r *reader) take(l layout, w row) *rows.Wrong {
	labels, pairs := len(r.Labels), len(r.Pairs)
	bad := l.take(r, w)
	for i := labels; bad == nil && i < len(r.Labels); i++ {
		bad = r.checkLabel(&r.Labels[i], w.source)
	}
	for i := pairs; bad == nil && i < len(r.Pairs); i++ {
		bad = r.checkPair(&r.Pairs[i], w.source)
	}
	if bad != nil {
		r.Labels, r.Pairs = r.Labels[:labels], r.Pairs[:pairs]
		return bad
	}
	r.said += len(r.Labels) - labels
	for _, p := range r.Pairs[pairs:] {
		r.said += 1 + p.VotesA + p.VotesB
	}
	return nil
}

func (r *reader) problem(p Problem) {
	if !p.Fatal {
		r.Bad++
	}
	if len(r.Problems) >= mostListed && !p.Fatal {
		r.Unlisted++
		return
	}
	r.Problems = append(r.Problems, p)
}

// stop notes a problem because of which a file is not read further.
func (r *reader) stop(path string, line int, err error) {
	p := Problem{File: path, Line: line, Wrong: strings.TrimPrefix(err.Error(), "open "+path+": "), Fatal: true}
	if w := (*rows.Wrong)(nil); errors.As(err, &w) {
		p.Wrong, p.Allowed, p.Do = w.What, w.Allowed, w.Do
	}
	r.problem(p)
}

func (r *reader) leave(columns []string) {
	for _, c := range columns {
		if !slices.Contains(r.Left, c) {
			r.Left = append(r.Left, c)
		}
	}
	slices.Sort(r.Left)
}

// share returns s with its memory shared by all equal texts.
func (r *reader) share(s string) string {
	if t, ok := r.text[s]; ok {
		return t
	}
	s = strings.Clone(s) // a cell may be part of a long line
	r.text[s] = s
	return s
}

func (r *reader) checkLabel(l *Label, source string) *rows.Wrong {
	if l.Value != Good && l.Value != Bad && l.Value != Skip {
		return &rows.Wrong{What: fmt.Sprintf("the label is %.40q", l.Value), Allowed: "good, bad or skip, or 1, 0 or -1", Do: "correct it"}
	}
	l.Source = cmp.Or(l.Source, source) // a row of our own formats has its source
	return r.names(&l.Prompt, name{"image", &l.Image, true}, name{"rater", &l.Rater, false})
}

func (r *reader) checkPair(p *Pair, source string) *rows.Wrong {
	switch {
	case p.Value != 0 && p.Value != .5 && p.Value != 1: // also NaN
		return &rows.Wrong{What: fmt.Sprintf("the label of the first image is %v", p.Value), Allowed: "1 where it is better, 0 where the other is, 0.5 for a tie", Do: "correct it"}
	case p.VotesA < 0 || p.VotesB < 0 || p.VotesA > mostVotes || p.VotesB > mostVotes:
		return &rows.Wrong{What: fmt.Sprintf("the votes are %d and %d", p.VotesA, p.VotesB), Allowed: "numbers from 0 to 10000", Do: "correct them"}
	}
	p.Value += 0 // makes 0 of -0
	p.Source = cmp.Or(p.Source, source)
	bad := r.names(&p.Prompt, name{"first image", &p.A, true}, name{"second image", &p.B, true}, name{"rater", &p.Rater, false},
		name{"first model", &p.ModelA, false}, name{"second model", &p.ModelB, false}, name{"split", &p.Split, false})
	if bad == nil && p.A == p.B {
		return &rows.Wrong{What: fmt.Sprintf("both images are %.80q", p.A), Allowed: "two images", Do: "correct one"}
	}
	return bad
}

// name is a name that a row has.
type name struct {
	what   string
	s      *string
	needed bool
}

// names checks a prompt and names, which it trims.
func (r *reader) names(prompt *string, list ...name) *rows.Wrong {
	if strings.TrimSpace(*prompt) == "" {
		return &rows.Wrong{What: "the prompt is empty", Allowed: "a text", Do: "fill it in, or remove the row"}
	}
	if bad := checkText("prompt", *prompt); bad != nil {
		return bad
	}
	*prompt = r.share(*prompt)
	for _, n := range list {
		s := strings.TrimSpace(*n.s)
		if s == "" && n.needed {
			return &rows.Wrong{What: "the name of the " + n.what + " is empty", Allowed: "a path, a hash or another name", Do: "fill it in, or remove the row"}
		}
		if bad := checkText("name of the "+n.what, s); bad != nil {
			return bad
		}
		if strings.ContainsFunc(s, unicode.IsControl) {
			return &rows.Wrong{What: fmt.Sprintf("the name of the %s, %.80q, has a control character", n.what, s), Allowed: "a name on one line", Do: "correct it"}
		}
		*n.s = r.share(s)
	}
	return nil
}

func checkText(what, s string) *rows.Wrong {
	switch {
	case len(s) > mostText:
		return &rows.Wrong{What: fmt.Sprintf("the %s has %s", what, phrase.Bytes(int64(len(s)))), Allowed: "at most " + phrase.Bytes(mostText), Do: "check how it was written"}
	case !utf8.ValidString(s):
		return &rows.Wrong{What: fmt.Sprintf("the %s, %.80q, is not UTF-8", what, s), Allowed: "UTF-8", Do: "write the file in UTF-8"}
	}
	return nil
}

// row is a row of a file, by the names of its columns.
type row struct {
	index  map[string]int
	cells  []string
	source string // file and line
	split  string // the part of the set that the file's name says
}

// split returns the part of a set that a file's name says, such as train_01.json.
func split(path string) string {
	name := strings.ToLower(filepath.Base(path))
	for _, s := range []string{"train", "validation", "test"} {
		if strings.HasPrefix(name, s) {
			return s
		}
	}
	return ""
}

// get returns a cell, and "" if it is missing.
func (w row) get(name string) string {
	i, ok := w.index[name]
	if !ok {
		return ""
	}
	return w.cells[i]
}

// number returns the number in a cell.
func (w row) number(name string) (float64, *rows.Wrong) {
	x, err := strconv.ParseFloat(strings.TrimSpace(w.get(name)), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, &rows.Wrong{What: fmt.Sprintf("%.40q is not a number, in %s", w.get(name), name), Allowed: "a number", Do: "correct it"}
	}
	return x, nil
}

// count returns the whole number in a cell, and 0 where it is empty.
func (w row) count(name string) (int, *rows.Wrong) {
	if strings.TrimSpace(w.get(name)) == "" {
		return 0, nil
	}
	x, bad := w.number(name)
	if bad == nil && (x < 0 || x > mostVotes || x != math.Trunc(x)) {
		bad = &rows.Wrong{What: fmt.Sprintf("%.40q is not a number of votes, in %s", w.get(name), name), Allowed: "a whole number from 0 to 10000", Do: "correct it"}
	}
	return int(x), bad
}

// times are the forms of a time that are read. Without a zone it is in UTC.
var times = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999"}

// time returns the time in a cell, and no time where it is empty.
func (w row) time(name string) (time.Time, *rows.Wrong) {
	s := strings.TrimSpace(w.get(name))
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range times {
		if t, err := time.Parse(form, s); err == nil && t.Year() > 0 && t.Year() < 10000 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, &rows.Wrong{What: fmt.Sprintf("%.40q is not a time, in %s", s, name), Allowed: "2026-01-02T15:04:05Z", Do: "correct it"}
}
