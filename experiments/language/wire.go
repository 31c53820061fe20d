package language

import (
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// reply is the message from the process that loads a study to the process that asked for it.
type reply struct {
	Study    *wire
	Mistakes []*Error
	Fault    string
}

// wire is a study with each value once and without views, which follow from the arms.
type wire struct {
	Declared, Name, Path, Root, Dir, Title, Question, Reference string

	Version, Collapsed int

	Detect     map[string]float64
	Show       []string
	Primary    []string
	Contrasts  [][2]string
	Prompts    string
	Looks      []int
	Precise    map[string]float64
	Halving    *Halving `json:",omitempty"` // absent from the digest of a study without it
	Imported   *Imported
	Gate       []Gate
	Judges     []Judge `json:",omitempty"`
	Notes      []string
	Files      []File
	Tagged     []Tagged  `json:",omitempty"`
	JSON       *wireJSON `json:",omitempty"` // what gob would not keep
	Seeds      []Seed
	Values     []any
	Base       []uint32
	Arms       []wireArm
	Excluded   []Excluded
	Confounded []Confounded
}

type wireArm struct {
	Name    string
	Seeds   []Seed
	Pick    *Pick
	Control bool
	Axes    [][]string // distinct lists of axes of points
	Points  []wirePoint
}

type wirePoint struct {
	Axes int // index of the list in the arm's Axes
	Refs []uint32
}

// WriteReply writes the results of Load, for ReadReply in another process of the same program.
func WriteReply(w io.Writer, s *Study, err error) error {
	var r reply
	var list *Errors
	switch {
	case errors.As(err, &list):
		r.Mistakes = list.List
	case err != nil:
		r.Fault = err.Error()
	default:
		r.Study = s.wire()
	}
	return gob.NewEncoder(w).Encode(r)
}

// Digest returns a digest of everything that the study says: two studies with the same digest
// have the same trials, comparisons and texts.
func (s *Study) Digest() ([sha256.Size]byte, error) {
	text, err := json.Marshal(s.wire()) // unlike gob, it sorts maps
	return sha256.Sum256(text), err
}

// ReadReply returns the results of Load in the process that wrote them.
func ReadReply(in io.Reader) (*Study, error) {
	var r reply
	if err := gob.NewDecoder(in).Decode(&r); err != nil {
		return nil, fmt.Errorf("reply of the process that loads the study: %w", err)
	}
	switch {
	case r.Mistakes != nil:
		return nil, &Errors{List: r.Mistakes}
	case r.Fault != "":
		return nil, errors.New(r.Fault)
	case r.Study == nil:
		return nil, errors.New("reply of the process that loads the study: it contains no study")
	}
	return r.Study.study()
}

func (s *Study) wire() *wire {
	if s.Imported != nil { // it has no trials
		return &wire{Declared: s.Declared, Name: s.Name, Path: s.Path, Root: s.Root, Dir: s.Dir, Title: s.Title, Question: s.Question, Reference: s.Reference, Version: s.Version,
			Detect: s.Detect, Primary: s.Primary, Contrasts: s.Contrasts, Prompts: s.Prompts, Gate: s.Gate, Notes: s.Notes, Imported: s.Imported}
	}
	w := &wire{Declared: s.Declared, Name: s.Name, Path: s.Path, Root: s.Root, Dir: s.Dir, Title: s.Title, Question: s.Question, Reference: s.Reference, Version: s.Version, Detect: s.Detect, Show: s.Show, Primary: s.Primary, Contrasts: s.Contrasts, Prompts: s.Prompts, Looks: s.Looks, Precise: s.Precise, Halving: s.Halving, Gate: s.Gate, Judges: s.Judges,
		Collapsed: s.Collapsed, Notes: s.Notes, Files: s.Files, Tagged: s.Tagged, JSON: s.json(), Seeds: s.Seeds, Excluded: s.Excluded, Confounded: s.Confounded, Values: s.Base.pool.values[1:], Base: s.Base.refs}
	for _, a := range s.Arms {
		out := wireArm{Name: a.Name, Seeds: a.Seeds, Pick: a.Pick, Control: a.Control, Points: make([]wirePoint, len(a.Points))}
		for i, p := range a.Points {
			k := 0
			for k < len(out.Axes) && !sameAxes(out.Axes[k], p.Axes) {
				k++
			}
			if k == len(out.Axes) {
				names := make([]string, len(p.Axes))
				for j, x := range p.Axes {
					names[j] = x.Axis
				}
				out.Axes = append(out.Axes, names)
			}
			out.Points[i] = wirePoint{k, p.Content.refs}
		}
		w.Arms = append(w.Arms, out)
	}
	return w
}

func sameAxes(names []string, axes []AxisValue) bool {
	if len(names) != len(axes) {
		return false
	}
	for i, x := range axes {
		if names[i] != x.Axis {
			return false
		}
	}
	return true
}

func (w *wire) study() (*Study, error) {
	s := Study{Declared: w.Declared, Name: w.Name, Path: w.Path, Root: w.Root, Dir: w.Dir, Title: w.Title, Question: w.Question, Reference: w.Reference, Version: w.Version, Detect: w.Detect, Show: w.Show, Primary: w.Primary, Contrasts: w.Contrasts, Prompts: w.Prompts, Looks: w.Looks, Precise: w.Precise, Halving: w.Halving, Imported: w.Imported, Gate: w.Gate, Judges: w.Judges,
		Collapsed: w.Collapsed, Notes: w.Notes, Files: w.Files, Tagged: w.Tagged, Seeds: w.Seeds, Excluded: w.Excluded, Confounded: w.Confounded}
	if s.Imported != nil {
		return &s, nil
	}
	if err := w.JSON.into(&s); err != nil {
		return nil, fmt.Errorf("reply of the process that loads the study: %w", err)
	}
	p := newPool(layoutOf(s.Engines))
	for _, v := range w.Values {
		p.put(v)
	}
	content := func(refs []uint32) (Content, error) {
		if len(refs) != len(p.layout.paths) {
			return Content{}, fmt.Errorf("reply of the process that loads the study: a trial has %d values, and must have %d", len(refs), len(p.layout.paths))
		}
		for _, r := range refs {
			if int(r) >= len(p.values) {
				return Content{}, errors.New("reply of the process that loads the study: it refers to a value that it does not contain")
			}
		}
		return Content{p, refs}, nil
	}
	var err error
	if s.Base, err = content(w.Base); err != nil {
		return nil, err
	}
	for _, a := range w.Arms {
		arm := Arm{Name: a.Name, Seeds: a.Seeds, Pick: a.Pick, Control: a.Control, Points: make([]Point, len(a.Points))}
		for i, q := range a.Points {
			c, err := content(q.Refs)
			if err != nil {
				return nil, err
			}
			arm.Points[i].Content = c
			for _, path := range a.Axes[q.Axes] {
				value, _ := c.Value(path)
				arm.Points[i].Axes = append(arm.Points[i].Axes, AxisValue{path, value})
			}
		}
		s.Arms = append(s.Arms, arm)
	}
	s.views()
	s.rungs()
	return &s, nil
}
