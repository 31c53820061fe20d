package stage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"ablate/runner/world"
)

// Prompts is the stage that writes a list of prompts with a seed for each.
const Prompts Kind = "prompts"

var promptsDef = define(runPrompts, Def{
	Kind: Prompts, Revision: 1,
	Files: tabled(promptsFile),
})

// A List is a list of prompts that a trial may have. Its prompts and seeds are drawn from
// random streams of the list.
type List struct {
	Name     string
	Path     string // parameter of a trial that gives the length; if it is empty, Rows does
	Rows     int    // length of the list, if Path is empty
	Unseen   bool   // the list also has held-out prompts, so no training may use it
	Captions bool   // its prompts are the captions of real images, in their order
}

// Names of lists.
const (
	LabelledList   = "labelled"   // prompts of images that are labelled and from which rewards learn
	UnlabelledList = "unlabelled" // prompts of images that a reward scores
	AssessList     = "assess"     // prompts of images on which a reward is assessed
	FinetuneList   = "finetune"   // prompts for which a fine-tuning draws images while it trains
	AlignmentList  = "alignment"  // prompts of images on which a model's alignment is measured
	FidelityList   = "fidelity"   // prompts of images on which a model's fidelity is measured
	ProbeList      = "probe"      // prompts of images on which the checkpoints of a fine-tuning are measured
	GrammarList    = "grammar"    // all prompts of a grammar that a training may use, for perturbed ones
)

var lists = []List{
	{Name: LabelledList, Path: "feedback.labelled"},
	{Name: UnlabelledList, Path: "feedback.unlabelled"},
	{Name: AssessList, Rows: 1024, Unseen: true},
	{Name: FinetuneList, Rows: 4096}, // a fine-tuning that needs more prompts draws these again
	{Name: AlignmentList, Path: "evaluate.images", Unseen: true},
	{Name: FidelityList, Path: "evaluate.fidelityImages", Captions: true},
	{Name: ProbeList, Path: "finetune.probeImages", Unseen: true},
}

// ListOf returns the list of a name, an empty List if there is none.
func ListOf(name string) List {
	for _, l := range lists {
		if l.Name == name {
			return l
		}
	}
	return List{}
}

// PromptsParams are the parameters of [Prompts].
type PromptsParams struct {
	Seed     int64  `json:"seed" key:"seed.feedback"`
	List     string `json:"list"`
	Rows     int    `json:"rows"`
	Unseen   bool   `json:"unseen,omitempty"`
	Captions bool   `json:"captions,omitempty"`

	Grammar string `json:"grammar,omitempty" key:"prompts.grammar"` // in the place of the shapes world's prompts

	// Path is a user's file of prompts, and Digest that of its content.
	Path   string `json:"path,omitempty" key:"-"`
	Digest string `json:"digest,omitempty" key:"prompts"`
}

func (p PromptsParams) memory() float64 { return float64(p.Rows) * 256 }

func (PromptsParams) cost() float64 { return .1 }

// A Prompt is a row of a list. The file has one JSON object per line.
type Prompt struct {
	Index    int    `json:"index"`
	Prompt   string `json:"prompt"`
	Category string `json:"category,omitempty"` // what the prompt tests, such as "count"
	Split    string `json:"split,omitempty"`    // Seen or Unseen; captions have none
	Complete bool   `json:"complete,omitempty"` // the prompt describes everything that an image shows
	Seed     int64  `json:"seed"`               // seed of the initial noise of an image
	Negative string `json:"negative,omitempty"` // what an image should not show, for engines

	Meta string `json:"meta,omitempty"` // JSON object of what else the user's file says of the prompt, for judges
}

// Values of [Prompt.Split].
const (
	Seen   = "seen"   // a training may use it
	Unseen = "unseen" // held out
)

func runPrompts(_ context.Context, e *Env, t Task, p PromptsParams, _ Progress) error {
	rows := make([]Prompt, p.Rows)
	switch {
	case p.Path != "":
		var err error
		if rows, err = t.filePrompts(p); err != nil {
			return err
		}
	case p.Grammar != "":
		g, err := world.GrammarOf(p.Grammar)
		if err != nil {
			return err
		}
		for i := range rows {
			if p.List == GrammarList {
				rows[i] = Prompt{Prompt: g.Seen()[i], Split: Seen}
				continue
			}
			q := g.Draw(t.stream(p.Seed, p.List, i), p.Unseen)
			rows[i] = Prompt{Prompt: q.Text, Category: q.Category, Split: Seen}
			if p.Unseen {
				rows[i].Split = Unseen
			}
		}
	case p.Captions:
		_, captions := e.world.Images.Real(realSet, p.Rows)
		for i, c := range captions {
			rows[i].Prompt = c
		}
	default:
		for i := range rows {
			q := e.world.Prompts.Draw(t.stream(p.Seed, p.List, i), !p.Unseen)
			rows[i] = Prompt{Prompt: q.Text, Category: q.Category, Split: Seen, Complete: q.Complete}
			if !q.Seen {
				rows[i].Split = Unseen
			}
		}
	}
	for i, seed := range rowSeeds(fmt.Sprintf("%d draw %s", p.Seed, p.List), p.Rows) {
		rows[i].Seed = seed
	}
	return WritePrompts(t.Out, rows)
}

// WritePrompts writes a list of prompts as an artifact. It numbers the rows.
func WritePrompts(dir string, rows []Prompt) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for i, r := range rows {
		r.Index = i
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, promptsFile), b.Bytes(), 0o666)
}

// rowSeeds returns n different seeds for the rows of a list, in [1, 2³¹), a range that is
// valid in every library for random noise. A longer list begins with the seeds of a
// shorter one. The seed of row i is 1 + (the first four bytes of SHA-256 of "LINE i K",
// big-endian) mod 2³¹−1, where K is the first of 0, 1, … that gives a seed which no
// earlier row has.
func rowSeeds(line string, n int) []int64 {
	const most = 1<<31 - 1
	seeds, used := make([]int64, n), make(map[int64]bool, n)
	for i := range seeds {
		for k := 0; ; k++ {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", line, i, k))
			s := 1 + int64(binary.BigEndian.Uint32(sum[:4]))%most
			if !used[s] {
				seeds[i], used[s] = s, true
				break
			}
		}
	}
	return seeds
}

// maxLine is the largest length of a line of a list of prompts, in bytes.
const maxLine = 64 << 10

// ReadPrompts reads a list of prompts.
func ReadPrompts(dir string) ([]Prompt, error) { return readPrompts(dir, Part{}) }

// readPrompts reads a part of the list of an artifact of [Prompts]. It parses no other rows: the
// parts of a long list are tasks of their own, and would take longer to parse it than to do.
func readPrompts(dir string, part Part) ([]Prompt, error) {
	path := filepath.Join(dir, promptsFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows []Prompt
	line := 0
	for text := range bytes.Lines(b) {
		if line++; part != (Part{}) && (line <= part.From || line > part.From+part.Rows) {
			continue
		}
		var p Prompt
		if len(text) > maxLine {
			return nil, fmt.Errorf("%s:%d: the line has %d bytes; must be at most %d", path, line, len(text), maxLine)
		}
		if err := unmarshalStrict(text, &p); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
		if p.Index != line-1 || p.Seed < 1 {
			return nil, fmt.Errorf("%s:%d: index %d and seed %d; must be index %d and a positive seed", path, line, p.Index, p.Seed, line-1)
		}
		rows = append(rows, p)
	}
	if part != (Part{}) && len(rows) != part.Rows {
		return nil, part.outside(line)
	}
	return rows, nil
}

// texts returns the prompts of a list.
func texts(rows []Prompt) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.Prompt
	}
	return out
}

// Names of the sets of real images.
const (
	realSet       = "real"       // images with which models are compared
	floorSet      = "real again" // as many other images, for the floor of each metric
	perPromptSet  = "diversity"  // images of the same prompts as those of a model
	perPromptSet2 = "diversity again"
)

// A promptTable numbers prompts. Equal prompts have the same number.
type promptTable struct {
	texts []string
	index map[string]int
}

func newPromptTable() *promptTable { return &promptTable{index: map[string]int{}} }

// add returns the number of a prompt, which it adds if it is new.
func (t *promptTable) add(text string) int {
	i, ok := t.index[text]
	if !ok {
		i = len(t.texts)
		t.texts, t.index[text] = append(t.texts, text), i
	}
	return i
}

// textInput returns the input of text encoders for prompts, float32[n, Vocabulary].
func (e *Env) textInput(prompts []string) ([]float32, error) { return e.world.Texts.Input(prompts) }
