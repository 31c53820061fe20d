// Package people collects what people say of images: which of two models shows better what a prompt says, and which
// looks more real. This is the evaluation of Lee et al. 2023 (arXiv 2302.12192, 4.1): two grids of images of one
// prompt, from the same noise, by two models whose names nobody sees.
package people

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ablate/analysis/raters"
)

// A Task is a prompt with images of both sides. Images of one place have the same noise.
type Task struct {
	Prompt string  `json:"prompt"`
	Tag    string  `json:"tag,omitempty"` // category
	Seen   bool    `json:"seen"`          // trainings could see the prompt
	Images []Image `json:"images"`
}

// An Image is a row of the evaluation, as both sides have drawn it.
type Image struct {
	Trials [2]string `json:"trials"` // by side
	Index  int       `json:"index"`  // of the image in its set
}

// A Design says what is asked, of whom. It is fixed when a comparison begins.
type Design struct {
	Sides  [2]string `json:"sides"` // rows of the table
	Seed   uint64    `json:"seed"`  // of the orders and of which side is on the left
	Tasks  []Task    `json:"tasks"`
	Each   int       `json:"each"` // raters of a task
	Raters []Rater   `json:"raters"`
}

// A Rater is a person who is asked.
type Rater struct {
	Name  string `json:"name"`
	Token string `json:"token"` // of the person's link; a secret
	Tasks []int  `json:"tasks"` // in the order in which they are shown
}

// Size says how much is asked.
type Size struct {
	Prompts int // tasks; 0: one for each prompt
	Grid    int // largest number of images of a side
	Raters  int
	Each    int // raters of a task; 0: all
	Seed    uint64
}

// NewDesign returns a comparison of two rows. tasks has all prompts; where there are more than are asked, those that come first in
// an order of the seed are taken.
func NewDesign(sides [2]string, tasks []Task, size Size) (*Design, error) {
	random := mathrand.New(mathrand.NewPCG(size.Seed, 27))
	tasks = slices.Clone(tasks)
	if size.Prompts > 0 && size.Prompts < len(tasks) {
		random.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
		tasks = tasks[:size.Prompts]
	}
	for i := range tasks {
		tasks[i].Images = tasks[i].Images[:min(size.Grid, len(tasks[i].Images))]
	}
	d := &Design{Sides: sides, Seed: size.Seed, Tasks: tasks, Each: size.Each}
	if d.Each <= 0 || d.Each > size.Raters {
		d.Each = size.Raters
	}
	for k := range size.Raters {
		token := make([]byte, 20)
		if _, err := rand.Read(token); err != nil {
			return nil, err
		}
		d.Raters = append(d.Raters, Rater{Name: fmt.Sprintf("rater %d", k+1), Token: strings.ToLower(base32.StdEncoding.EncodeToString(token))})
	}
	// Raters take turns, so that each has as many tasks as another, give or take one, and every two meet.
	turn := random.Perm(size.Raters)
	for i := range tasks {
		for k := range d.Each {
			r := &d.Raters[turn[(i*d.Each+k)%size.Raters]]
			r.Tasks = append(r.Tasks, i)
		}
		if size.Raters > 0 && (i+1)*d.Each%size.Raters == 0 {
			random.Shuffle(len(turn), func(a, b int) { turn[a], turn[b] = turn[b], turn[a] })
		}
	}
	for k := range d.Raters {
		list := d.Raters[k].Tasks
		random.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
	}
	return d, nil
}

// left is the side that a rater sees on the left in a task.
func (d *Design) left(rater string, task int) int {
	return int(sha256.Sum256(fmt.Appendf(nil, "%d %s %d", d.Seed, rater, task))[0] & 1)
}

// Folder is the folder of comparisons in a study's folder of results.
const Folder = "people"

const designFile = "design.json"

// A Collection is a comparison with its answers, in a folder.
type Collection struct {
	*Design
	dir string
	j   *journal
}

// Create writes a new comparison into a folder, which must have none.
func Create(dir string, d *Design) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	data, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, designFile)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // it has secrets
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// Open opens the comparison in a folder: alone, to add answers, or to read them. It wraps fs.ErrNotExist where there is none.
func Open(dir string, alone bool) (*Collection, error) {
	name := filepath.Join(dir, designFile)
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	c := &Collection{dir: dir}
	if err := json.Unmarshal(data, &c.Design); err != nil || c.Design == nil {
		return nil, fmt.Errorf("%s: it is no comparison: %w: move the folder away to begin again", name, cmp.Or(err, fs.ErrInvalid))
	}
	for _, r := range c.Raters {
		for _, task := range r.Tasks {
			if task < 0 || task >= len(c.Tasks) {
				return nil, fmt.Errorf("%s: %s has task %d of %d", name, r.Name, task, len(c.Tasks))
			}
		}
	}
	if c.j, err = openJournal(dir, alone); err != nil {
		return nil, err
	}
	return c, nil
}

// Close releases the files.
func (c *Collection) Close() error { return c.j.close() }

// Done returns how many answers of how many are there.
func (c *Collection) Done() (done, of int) {
	for _, r := range c.Raters {
		of += len(r.Tasks)
		done += c.doneBy(r)
	}
	return done, of
}

func (c *Collection) doneBy(r Rater) (n int) {
	for _, task := range r.Tasks {
		if _, ok := c.j.given(r.Name, task); ok {
			n++
		}
	}
	return n
}

// The questions of a task.
const (
	Alignment = "alignment"
	Fidelity  = "fidelity"
)

// Votes returns the votes for the first side, by question: of the tasks that keep says, or of all where it is nil. An item is
// a prompt.
func (c *Collection) Votes(keep func(Task) bool) map[string][]raters.Vote {
	out := map[string][]raters.Vote{}
	prompts := map[string]int{}
	for _, t := range c.Tasks {
		if _, ok := prompts[t.Prompt]; !ok {
			prompts[t.Prompt] = len(prompts)
		}
	}
	for k, r := range c.Raters {
		for _, task := range slices.Sorted(slices.Values(r.Tasks)) {
			g, ok := c.j.given(r.Name, task)
			if !ok || keep != nil && !keep(c.Tasks[task]) {
				continue
			}
			for question, said := range map[string]string{Alignment: g.Alignment, Fidelity: g.Fidelity} {
				value := .5
				if said != Tie {
					value = 0
					if (said == Left) == (c.left(r.Name, task) == 0) {
						value = 1
					}
				}
				out[question] = append(out[question], raters.Vote{Item: prompts[c.Tasks[task].Prompt], Rater: k, Value: value})
			}
		}
	}
	return out
}

// Agreement returns how far raters agree on a question, in the categories win, tie and loss; false where no task has two answers.
func (c *Collection) Agreement(question string, level float64) (raters.Agreement, bool) {
	r := raters.Ratings{Items: len(c.Tasks), Raters: len(c.Raters), Categories: 3}
	for _, v := range c.Votes(nil)[question] {
		r.List = append(r.List, raters.Rating{Item: v.Item, Rater: v.Rater, Category: int(2 * v.Value)})
	}
	return r.Agree(level)
}
