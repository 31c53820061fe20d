package labels

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"ablate/runner/rows"
)

// Our own columns, of labels and of pairs. A file may have both: a row with an image is a label,
// and one with two is a pair.
var (
	labelColumns = []string{"prompt", "image", "label"}
	pairColumns  = []string{"prompt", "image_a", "image_b", "label_a"}
	ownMore      = []string{"rater", "votes_a", "votes_b", "model_a", "model_b", "split", "time", "source"}
	ownLayouts   = []layout{
		{append(pairColumns, labelColumns[1:]...), ownMore, ownRow}, {labelColumns, ownMore, ownRow}, {pairColumns, ownMore, ownRow},
	}
)

// ownRow reads a label or a pair.
func ownRow(r *reader, w row) *rows.Wrong {
	at, bad := w.time("time")
	if bad != nil {
		return bad
	}
	one, two := w.get("image") != "", w.get("image_a") != "" || w.get("image_b") != ""
	switch {
	case one && two:
		return &rows.Wrong{What: "it has an image, and images of a pair", Allowed: "image and label, or image_a, image_b and label_a", Do: "make two rows of it"}
	case two || w.get("label") == "" && w.get("label_a") != "":
		p := Pair{Prompt: w.get("prompt"), A: w.get("image_a"), B: w.get("image_b"), Rater: w.get("rater"), ModelA: w.get("model_a"), ModelB: w.get("model_b"), Split: w.get("split"), Time: at, Source: w.get("source")}
		for _, x := range []struct {
			to   *int
			name string
		}{{&p.VotesA, "votes_a"}, {&p.VotesB, "votes_b"}} {
			if *x.to, bad = w.count(x.name); bad != nil {
				return bad
			}
		}
		if p.Value, bad = w.number("label_a"); bad != nil {
			return bad
		}
		r.Pairs = append(r.Pairs, p)
		return nil
	}
	r.Labels = append(r.Labels, Label{Prompt: w.get("prompt"), Image: w.get("image"), Rater: w.get("rater"), Value: value(w.get("label")), Time: at, Source: w.get("source")})
	return nil
}

// value returns the value of a label, which may be a number.
func value(s string) Value {
	switch s {
	case "1":
		return Good
	case "0":
		return Bad
	case "-1":
		return Skip
	}
	return Value(s)
}

// WriteJSONL writes a set with an object on each line: the labels, then the pairs.
func (s *Set) WriteJSONL(w io.Writer) error {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	for _, l := range s.Labels {
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	for _, p := range s.Pairs {
		if err := e.Encode(p); err != nil {
			return err
		}
	}
	return b.Flush()
}

// WriteCSV writes a set with a row for each label and each pair.
func (s *Set) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339Nano)
	}
	count := func(p Pair, n int) string {
		if p.VotesA+p.VotesB == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	_ = c.Write([]string{"prompt", "image", "label", "image_a", "image_b", "label_a", "votes_a", "votes_b", "model_a", "model_b", "split", "rater", "time", "source"}) // Error has the first error
	for _, l := range s.Labels {
		_ = c.Write([]string{l.Prompt, l.Image, string(l.Value), "", "", "", "", "", "", "", "", l.Rater, stamp(l.Time), l.Source})
	}
	for _, p := range s.Pairs {
		_ = c.Write([]string{p.Prompt, "", "", p.A, p.B, fmt.Sprint(p.Value), count(p, p.VotesA), count(p, p.VotesB), p.ModelA, p.ModelB, p.Split, p.Rater, stamp(p.Time), p.Source})
	}
	c.Flush()
	return c.Error()
}
