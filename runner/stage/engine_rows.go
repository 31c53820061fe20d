package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ablate/models/checkpoint"
	"ablate/runner/engine"
)

// A PictureSet has the pictures of a model, in the place of an [ImageSet]: files below the
// artifact, of any size.
type PictureSet struct {
	Step     int       `json:"step"`
	From     int       `json:"from,omitempty"` // position of its first row in the list of prompts
	Pictures []Picture `json:"pictures"`
}

// A Picture is a file of an artifact.
type Picture struct {
	File      string `json:"file,omitempty"` // relative to the artifact; empty where there is none
	Truncated bool   `json:"truncated,omitempty"`
	Error     string `json:"error,omitempty"` // why there is none
}

// HasPictures reports whether an artifact of images has pictures, and not an [ImageSet].
func HasPictures(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, picturesFile))
	return err == nil
}

// ReadPictures reads the pictures of an artifact, by step.
func ReadPictures(dir string) ([]PictureSet, error) {
	var sets []PictureSet
	path := filepath.Join(dir, picturesFile)
	if err := checkpoint.ReadJSON(path, &sets, true); err != nil {
		return nil, err
	}
	for i, s := range sets {
		if i > 0 && s.Step <= sets[i-1].Step {
			return nil, fmt.Errorf("%s: step %d comes after step %d", path, s.Step, sets[i-1].Step)
		}
		if s.From < 0 {
			return nil, fmt.Errorf("%s: the first row is %d", path, s.From)
		}
		for _, p := range s.Pictures {
			if p.File != "" && !filepath.IsLocal(p.File) {
				return nil, fmt.Errorf("%s: %q is not a file of the artifact", path, p.File)
			}
		}
	}
	return sets, nil
}

// promptRows returns prompts as rows of an engine's input, without what only a judge may see.
// A candidate of best of n has seeds of its own: the one of a row is made from the row's seed
// and the candidate's number, as rowSeeds makes the first.
func promptRows(prompts []Prompt, candidate int) []engine.Row {
	rows, used := make([]engine.Row, len(prompts)), map[int64]bool{}
	for i, p := range prompts {
		rows[i] = engine.Row{Index: p.Index, Prompt: p.Prompt, Negative: p.Negative, Seed: p.Seed}
		for k := 0; candidate > 0; k++ {
			if seed := rowSeeds(fmt.Sprintf("%d candidate %d %d", p.Seed, candidate, k), 1)[0]; !used[seed] {
				rows[i].Seed, used[seed] = seed, true
				break
			}
		}
	}
	return rows
}

func runEngineSample(ctx context.Context, e *Env, t Task, p EngineSampleParams, progress Progress) error {
	c, err := e.calling(t, p.Call, engine.Sample, progress)
	if err != nil {
		return err
	}
	read := p.Part
	if p.Candidate > 0 {
		read = Part{} // the seeds of a candidate differ from those of all rows before
	}
	prompts, err := readPrompts(t.in(PromptsInput), read)
	if err != nil {
		return err
	}
	models := []string{""}
	steps := []int{p.Step}
	if p.Steps {
		if steps, err = engineSteps(t.in(TunedInput)); err != nil {
			return err
		}
	}
	if t.has(TunedInput) {
		models = nil
		for _, step := range steps {
			model := "checkpoint"
			if step > 0 {
				model = fmt.Sprintf("steps/%d", step)
			}
			models = append(models, model)
		}
	}
	rows := promptRows(prompts, p.Candidate)
	if p.Candidate > 0 {
		if rows, err = of(p.Part, rows); err != nil {
			return err
		}
	}
	var sets []PictureSet
	for k, model := range models {
		s := PictureSet{Step: steps[k], From: p.From}
		for from, part := range shards(rows, c.spec.Description.Verbs[engine.Sample]) {
			q := engine.Task{Inputs: map[string]engine.TaskInput{engine.PromptsRole: {ID: artifactID(t.in(PromptsInput)), Rows: part}}}
			if err := c.checkpoints(ctx, &q, engine.CheckpointRole, model, p.Loaded); err != nil {
				return err
			}
			out, err := c.do(ctx, q, k*len(rows)+from, len(models)*len(rows))
			if err != nil {
				return err
			}
			pictures, err := engine.ReadPictures(filepath.Join(out, "images"), part)
			if err != nil {
				return err
			}
			below := fmt.Sprintf("images/%d-%d", steps[k], p.From+from)
			if err := os.MkdirAll(filepath.Join(t.Out, "images"), 0o777); err != nil {
				return err
			}
			if err := os.Rename(filepath.Join(out, "images"), filepath.Join(t.Out, filepath.FromSlash(below))); err != nil {
				return err
			}
			for _, picture := range pictures {
				q := Picture{Truncated: picture.Truncated, Error: picture.Error}
				if picture.File != "" {
					q.File = below + "/" + picture.File
				}
				s.Pictures = append(s.Pictures, q)
			}
			if err := c.drop(); err != nil {
				return err
			}
		}
		sets = append(sets, s)
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, picturesFile), sets)
}

// shards calls yield with each part of rows that is one task, and the position of its first
// row.
func shards(rows []engine.Row, v *engine.Verb) func(yield func(from int, part []engine.Row) bool) {
	n := v.Shard
	if v.Rows == "together" {
		n = len(rows)
	}
	return func(yield func(int, []engine.Row) bool) {
		for from := 0; from < len(rows); from += n {
			if !yield(from, rows[from:min(from+n, len(rows))]) {
				return
			}
		}
	}
}

// engineSteps returns the steps of the checkpoints of an engine's training.
func engineSteps(dir string) ([]int, error) {
	list, err := os.ReadDir(filepath.Join(dir, "steps"))
	var steps []int
	for _, d := range list {
		if n, err := strconv.Atoi(d.Name()); err == nil {
			steps = append(steps, n)
		}
	}
	slices.Sort(steps)
	if err == nil && len(steps) == 0 {
		err = errors.New("the training kept no checkpoint on its way")
	}
	return steps, err
}

// pictureRows returns the pictures of a set as rows of an engine's input, with their prompts, which
// are in the artifact list. Pictures that are missing have no row. The index of a row is its
// position in the set.
func pictureRows(list string, s PictureSet) ([]engine.Row, error) {
	prompts, err := readPrompts(list, Part{s.From, len(s.Pictures)})
	if err != nil {
		return nil, err
	}
	var rows []engine.Row
	for i, p := range s.Pictures {
		if p.File != "" {
			rows = append(rows, engine.Row{Index: i, Prompt: prompts[i].Prompt, Meta: json.RawMessage(prompts[i].Meta), File: "files/" + p.File})
		}
	}
	return rows, nil
}

func runEngineScore(ctx context.Context, e *Env, t Task, p EngineScoreParams, progress Progress) error {
	c, err := e.calling(t, p.Call, engine.Score, progress)
	if err != nil {
		return err
	}
	v := c.spec.Description.Verbs[engine.Score]
	sets, err := ReadPictures(t.in(ImagesInput))
	if err != nil {
		return err
	}
	out := make([]ColumnSet, len(sets))
	for k, s := range sets {
		rows, err := pictureRows(t.in(PromptsInput), s)
		if err != nil {
			return err
		}
		n := len(s.Pictures)
		out[k] = ColumnSet{s.Step, map[string]*ColumnValues{}}
		for name, column := range v.Columns {
			x := &ColumnValues{Read: make([]string, n)}
			if column.Kind == "verdict" {
				x.Labels = make([]string, n)
			} else {
				x.Scores = make([]*float64, n)
			}
			for i, picture := range s.Pictures {
				x.Read[i] = picture.Error
			}
			out[k].Columns[name] = x
		}
		for from, part := range shards(rows, v) {
			q := engine.Task{Inputs: map[string]engine.TaskInput{engine.ImagesRole: {ID: artifactID(t.in(ImagesInput)), Files: t.in(ImagesInput), Rows: part}}}
			dir, err := c.do(ctx, q, k*n+from, len(sets)*n)
			if err != nil {
				return err
			}
			values, err := engine.ReadScores(filepath.Join(dir, "scores"), part, v.Columns)
			if err != nil {
				return err
			}
			for name, to := range out[k].Columns {
				for j, r := range part {
					x := values[name][j]
					switch {
					case x.Error != "":
						to.Read[r.Index] = x.Error
					case to.Labels != nil:
						to.Labels[r.Index], to.Read[r.Index] = x.Verdict, readOf(values, name, j)
					case math.IsInf(float64(float32(x.Number)), 0):
						return fmt.Errorf("image %d has the %s %v, which is too large for a 32-bit number", r.Index, name, x.Number)
					default:
						to.Scores[r.Index] = &x.Number
					}
				}
			}
			if err := c.drop(); err != nil {
				return err
			}
		}
	}
	return checkpoint.WriteJSON(filepath.Join(t.Out, columnsFile), out)
}

// readOf describes the other columns of a row, such as the parts of a verdict.
func readOf(values map[string][]engine.Value, column string, row int) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if x := values[name][row]; name != column && x.Error == "" {
			text := x.Verdict
			if text == "" {
				text = strconv.FormatFloat(x.Number, 'g', 6, 64)
			}
			out = append(out, name+" "+text)
		}
	}
	return strings.Join(out, ", ")
}

func runEngineEmbed(ctx context.Context, e *Env, t Task, p EngineEmbedParams, progress Progress) error {
	c, err := e.calling(t, p.Call, engine.Embed, progress)
	if err != nil {
		return err
	}
	sets, err := c.embedded(ctx, p)
	if err != nil {
		return err
	}
	tensors := map[string]checkpoint.Tensor{}
	for k, s := range sets {
		var features []float32 // of all rows, once their length is known
		dimension := 0
		for from, part := range shards(s.rows, c.spec.Description.Verbs[engine.Embed]) {
			q := engine.Task{Inputs: map[string]engine.TaskInput{s.role: {ID: s.id, Files: s.files, Rows: part}}}
			out, err := c.do(ctx, q, k*s.n+from, len(sets)*s.n)
			if err != nil {
				return err
			}
			x, err := engine.ReadFeatures(filepath.Join(out, "features"), part)
			if err != nil {
				return err
			}
			if features == nil {
				dimension = x.Dimension
				features = slices.Repeat([]float32{missing}, s.n*dimension)
			}
			if x.Dimension != dimension {
				return fmt.Errorf("engine %s gives features of %d and of %d numbers", p.Engine, dimension, x.Dimension)
			}
			for j, r := range part {
				if x.Errors[j] == "" {
					copy(features[r.Index*dimension:(r.Index+1)*dimension], x.Values[j*dimension:])
				}
			}
			if err := c.drop(); err != nil {
				return err
			}
		}
		if features == nil {
			return fmt.Errorf("step %d has no picture", s.step)
		}
		tensors[tensorName(featuresName, s.step)] = checkpoint.Floats(features, s.n, dimension)
	}
	return checkpoint.WriteFile(filepath.Join(t.Out, featuresFile), tensors)
}

// A rowSet has rows of which an engine computes features.
type rowSet struct {
	step            int
	role, id, files string // of the engine's input
	n               int    // number of rows, with those of missing pictures
	rows            []engine.Row
}

// embedded returns what a task computes features of: a folder of pictures, prompts or images.
func (c *calling) embedded(ctx context.Context, p EngineEmbedParams) ([]rowSet, error) {
	t := c.t
	if p.Folder != "" {
		files, err := c.folderOf(ctx, p.Folder, p.Digest)
		if err != nil {
			return nil, err
		}
		pictures, err := of(p.Part, files.Pictures())
		rows := make([]engine.Row, len(pictures))
		for i, name := range pictures {
			rows[i] = engine.Row{Index: i, File: "files/" + name}
		}
		return []rowSet{{0, engine.ImagesRole, p.Digest, p.Folder, len(rows), rows}}, err
	}
	if !t.has(ImagesInput) {
		prompts, err := readPrompts(t.in(PromptsInput), p.Part)
		if err != nil {
			return nil, err
		}
		rows := make([]engine.Row, len(prompts))
		for i, q := range prompts {
			rows[i] = engine.Row{Index: i, Prompt: q.Prompt}
		}
		return []rowSet{{0, engine.TextsRole, artifactID(t.in(PromptsInput)), "", len(rows), rows}}, nil
	}
	pictures, err := ReadPictures(t.in(ImagesInput))
	var sets []rowSet
	for _, s := range pictures {
		rows, err := pictureRows(t.in(PromptsInput), s)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			rows[i].Meta = nil // only a judge may see it
		}
		sets = append(sets, rowSet{s.Step, engine.ImagesRole, artifactID(t.in(ImagesInput)), t.in(ImagesInput), len(s.Pictures), rows})
	}
	return sets, err
}

const featuresName = "features"
