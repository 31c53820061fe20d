package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ablate/models/finetune"
	"ablate/models/train"
	"ablate/runner/engine"
)

func runEngineTrain(ctx context.Context, e *Env, t Task, p EngineTrainParams, progress Progress) error {
	c, err := e.calling(t, p.Call, engine.Train, progress)
	if err != nil {
		return err
	}
	c.strict = p.Strict
	v := c.spec.Description.Verbs[engine.Train]
	params, err := c.call.params()
	if err != nil {
		return err
	}
	q := engine.Task{Inputs: map[string]engine.TaskInput{}, Seeds: map[string]int64{}, SaveEvery: t.SaveEvery}
	for _, name := range v.Seeds {
		q.Seeds[name] = rowSeeds(fmt.Sprintf("%d finetune %s", p.Seed, name), 1)[0]
	}
	for _, text := range strings.Fields(p.Keep) {
		step, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		q.Keep = append(q.Keep, step)
	}
	if p.Scorer.Engine != "" {
		if err := c.scorer(&q, p.Scorer); err != nil {
			return err
		}
	}
	images, err := t.generated(p)
	if err != nil {
		return err
	}
	for _, role := range v.Needs(params) {
		switch role {
		case engine.BaseRole:
			if err := c.checkpoints(ctx, &q, engine.BaseRole, "", p.Loaded); err != nil {
				return err
			}
		case engine.ImagesRole:
			q.Inputs[role] = images
		case engine.PairsRole:
			rows := preferences(images.Rows)
			if len(rows) == 0 {
				return errors.New("no two images of one prompt have different scores, so that there are no pairs: draw several images for each prompt")
			}
			q.Inputs[engine.ImagesRole] = images
			q.Inputs[role] = engine.TaskInput{ID: images.ID, Rows: rows}
		case engine.PromptsRole:
			q.Inputs[role] = engine.TaskInput{ID: images.ID, Rows: seenPrompts(images.Rows)}
		case engine.PretrainingRole:
			if p.Folder == "" {
				return fmt.Errorf("engine %s trains on pretraining images, and finetune.pretraining names no folder", p.Engine)
			}
			files, err := c.folderOf(ctx, p.Folder, p.Digest)
			if err != nil {
				return err
			}
			rows, err := captioned(files)
			if err != nil {
				return err
			}
			q.Inputs[role] = engine.TaskInput{ID: p.Digest, Files: p.Folder, Rows: rows}
		}
	}
	out, err := c.do(ctx, q, 0, 0)
	if err != nil {
		return err
	}
	points, err := engine.ReadCurve(filepath.Join(out, "curves"))
	if err != nil {
		return err
	}
	if err := writeCurve(filepath.Join(t.Out, curvesFile), curveOf(points)); err != nil {
		return err
	}
	return c.take(out, "checkpoint", "steps")
}

// scorer hands the study's reward over to a training that calls it.
func (c *calling) scorer(q *engine.Task, s Scorer) error {
	of, err := c.env.calling(c.t, s.Call, engine.Score, c.progress)
	if err != nil {
		return err
	}
	params, err := s.params()
	if err != nil {
		return err
	}
	q.Scorers = map[string]engine.TaskScorer{engine.RewardScorer: {Engine: &of.spec.Engine, Params: params, Column: s.Column}}
	c.watched = append(c.watched, func(ctx context.Context) error { _, err := of.source(ctx); return err })
	return nil
}

// curveOf returns a curve of the metrics that every point has.
func curveOf(points []engine.CurvePoint) *train.Curve {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(points[0].Metrics)) {
		if !slices.ContainsFunc(points, func(p engine.CurvePoint) bool { _, ok := p.Metrics[name]; return !ok }) {
			names = append(names, name)
		}
	}
	c := train.NewCurve(names...)
	for _, p := range points {
		values := make([]float64, len(names))
		for i, name := range names {
			values[i] = p.Metrics[name]
		}
		c.Add(p.Step, values...)
	}
	return c
}

// generated returns the images that a training learns from, with their scores.
func (t Task) generated(p EngineTrainParams) (engine.TaskInput, error) {
	in, id := engine.TaskInput{Parts: map[string]string{}}, sha256.New()
	fmt.Fprintf(id, "%s %+v\n", p.Rows, p.Kept)
	for _, list := range []string{LabelledList, UnlabelledList} {
		if !t.has(Of(list, ImagesInput)) {
			continue
		}
		set, err := Only(ReadPictures(t.in(Of(list, ImagesInput))))
		if err != nil {
			return in, err
		}
		rows, err := pictureRows(t.in(Of(list, PromptsInput)), set)
		if err != nil {
			return in, err
		}
		scores := ScoreSet{Scores: slices.Repeat([]float32{1}, len(set.Pictures))}
		if t.has(Of(list, ScoresInput)) {
			if scores, err = Only(ReadScores(t.in(Of(list, ScoresInput)))); err != nil {
				return in, err
			}
		}
		in.Parts[list] = t.in(Of(list, ImagesInput))
		fmt.Fprintf(id, "%s %s %s\n", list, artifactID(t.in(Of(list, ImagesInput))), artifactID(t.in(Of(list, ScoresInput))))
		for _, r := range rows {
			score := float64(scores.Scores[r.Index])
			if math.IsNaN(score) { // an engine failed for the image
				continue
			}
			r.Meta = nil // what a judge reads is not for a training
			r.Index, r.File, r.Score = len(in.Rows), "files/"+list+strings.TrimPrefix(r.File, "files"), &score
			in.Rows = append(in.Rows, r)
		}
	}
	if p.Rows == finetune.Filtered {
		var err error
		if in.Rows, err = filtered(in.Rows, p.Kept); err != nil {
			return in, err
		}
		for i := range in.Rows {
			in.Rows[i].Index = i
		}
	}
	in.ID = hex.EncodeToString(id.Sum(nil))
	if len(in.Rows) == 0 {
		return in, errors.New("no image is left to train on")
	}
	return in, nil
}

// filtered returns the rows that a filter keeps.
func filtered(rows []engine.Row, f finetune.Filter) (kept []engine.Row, err error) {
	scores := make([]float32, len(rows))
	for i, r := range rows {
		scores[i] = float32(*r.Score)
	}
	weights, err := f.Weights(scores)
	for i, w := range weights {
		if w > 0 {
			kept = append(kept, rows[i])
		}
	}
	return kept, err
}

// preferences returns, for each prompt, the pair of its best and its worst image, if their scores
// differ.
func preferences(rows []engine.Row) []engine.Row {
	best, worst := map[string]int{}, map[string]int{}
	var order []string
	for i, r := range rows {
		b, ok := best[r.Prompt]
		if !ok {
			order = append(order, r.Prompt)
			best[r.Prompt], worst[r.Prompt] = i, i
			continue
		}
		if *r.Score > *rows[b].Score {
			best[r.Prompt] = i
		}
		if *r.Score < *rows[worst[r.Prompt]].Score {
			worst[r.Prompt] = i
		}
	}
	var out []engine.Row
	one := 1.
	for _, prompt := range order {
		b, w := best[prompt], worst[prompt]
		if *rows[b].Score > *rows[w].Score {
			out = append(out, engine.Row{Index: len(out), Prompt: prompt, Better: &b, Worse: &w, Weight: &one})
		}
	}
	return out
}

// seenPrompts returns the distinct prompts of images.
func seenPrompts(rows []engine.Row) []engine.Row {
	seen := map[string]bool{}
	var out []engine.Row
	for _, r := range rows {
		if !seen[r.Prompt] {
			seen[r.Prompt] = true
			out = append(out, engine.Row{Index: len(out), Prompt: r.Prompt})
		}
	}
	return out
}

// captioned returns the pictures of a folder as rows. Each must have its caption in a file of the
// same name that ends in .txt.
func captioned(f *engine.Files) ([]engine.Row, error) {
	var rows []engine.Row
	for i, name := range f.Pictures() {
		caption := filepath.Join(f.Root, strings.TrimSuffix(name, ".png")+".txt")
		text, err := os.ReadFile(caption)
		if err != nil {
			return nil, fmt.Errorf("%s has no caption: write it into %s", filepath.Join(f.Root, name), caption)
		}
		rows = append(rows, engine.Row{Index: i, File: "files/" + name, Prompt: strings.TrimSpace(string(text))})
	}
	return rows, nil
}
