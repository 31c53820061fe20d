package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ablate/models/checkpoint"
	"ablate/models/finetune"
	"ablate/models/lora"
	"ablate/models/pipeline"
	"ablate/models/train"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
	"ablate/runner/stage"
)

// trainParams are the parameters of train. The rest of the recipe is that of a study's defaults.
type trainParams struct {
	Method       string  `json:"method"`
	Beta         float64 `json:"beta"`
	Steps        int     `json:"steps"`
	Batch        int     `json:"batch"`
	LearningRate float64 `json:"learning_rate"`
	Warmup       int     `json:"warmup"`
	Schedule     string  `json:"schedule"`
	Rank         int     `json:"rank"`
}

// recipe returns the fine-tuning of some parameters.
func (p trainParams) recipe() (r finetune.Recipe, err error) {
	r = finetune.Recipe{Trains: pipeline.DenoiserPart, Steps: p.Steps, Batch: p.Batch, LearningRate: p.LearningRate, Warmup: p.Warmup, Schedule: p.Schedule,
		Clip: 1, Adam: train.Adam{Beta1: .9, Beta2: .99, Epsilon: 1e-8}, LoRA: lora.Config{Rank: p.Rank, Targets: "attention"}, Anchor: finetune.AnchorPretraining, Beta: p.Beta}
	// The weights of finetune.Filtered are 1, because ablate has chosen the images.
	r.Method.Method, err = finetune.ByName(finetune.RewardWeighted)
	return r, err
}

// train fine-tunes the model of the role base.
func (n *native) train(ctx context.Context, t *kit.Task) error {
	var p trainParams
	if err := t.Decode(&p); err != nil {
		return err
	}
	inputs, err := model(t, engine.BaseRole)
	if err != nil {
		return err
	}
	q := stage.FinetuneParams{Seed: t.Seeds[stream], Mix: stage.Mix{Unlabelled: 1, Pretraining: 1}, Checkpoints: max(1, len(t.Keep))}
	if q.Recipe, err = p.recipe(); err != nil {
		return err
	}
	for k, step := range t.Keep {
		if n := len(t.Keep); step != (p.Steps*(k+1)+n-1)/n {
			return kit.Refuse("keep: %v; must be evenly spaced steps, of which the last is %d", t.Keep, p.Steps)
		}
	}
	if _, err := data(t, engine.ImagesRole, stage.UnlabelledList, p.Method == finetune.RewardWeighted, inputs); err != nil {
		return err
	}
	if p.Beta > 0 {
		if q.Data.Pairs, err = data(t, engine.PretrainingRole, stage.PretrainingList, false, inputs); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	last := 0
	out, err := n.run(ctx, t, stage.Finetune, q, inputs, train.Resume{
		File: filepath.Join(t.State(), "state"),
		Due: func(steps int) bool {
			save, end := t.Due()
			if last = steps; end && steps < p.Steps {
				stop(errStopped)
			}
			return save
		},
		Discard: func(err error) {
			fmt.Fprintln(os.Stderr, "a saved state cannot be used, and the training begins again:", err)
		},
	})
	switch {
	case errors.Is(err, errStopped):
		return &kit.End{Status: engine.Stopped, Step: last}
	case errors.Is(err, finetune.ErrNothing):
		return &kit.End{Status: engine.Failed, Class: engine.Data, Err: err}
	case err != nil:
		return err
	}
	return outputs(t, out)
}

var errStopped = errors.New("it was asked to stop")

// data adds the images of a role as a list to the inputs of the stage, and returns their number.
func data(t *kit.Task, role, list string, scored bool, inputs map[string]string) (int, error) {
	rows, err := t.Rows(role)
	if err != nil {
		return 0, err
	}
	scores := make([]float32, len(rows))
	for i, r := range rows {
		if why := unreadable(r); why != "" {
			return 0, kit.Refuse("%s: row %d: %s", role, r.Index, why)
		}
		if scored && r.Score == nil {
			return 0, kit.Refuse("%s: row %d has no score", role, r.Index)
		} else if scored {
			scores[i] = float32(*r.Score)
		}
	}
	if inputs[stage.Of(list, stage.PromptsInput)], err = prompts(t, list, rows); err != nil {
		return 0, err
	}
	if inputs[stage.Of(list, stage.ImagesInput)], _, err = images(t, list, rows); err != nil || !scored {
		return len(rows), err
	}
	dir, err := t.Scratch(list + " scores")
	inputs[stage.Of(list, stage.ScoresInput)] = dir
	return len(rows), errors.Join(err, stage.WriteScores(dir, []stage.ScoreSet{{Scores: scores}}))
}

// outputs moves what a fine-tuning made to the places of the protocol: the model and its
// checkpoints, each a folder that is whole without the others, and the curve.
func outputs(t *kit.Task, made string) error {
	curve, err := stage.ReadCurve(made)
	if err != nil {
		return err
	}
	var points []map[string]float64
	for i, step := range curve.Steps {
		p := map[string]float64{"step": float64(step)}
		for j, name := range curve.Metrics {
			p[kit.MetricName(name)] = curve.Values[j][i]
		}
		points = append(points, p)
	}
	if err := kit.WriteRows(t, "curves", points); err != nil {
		return err
	}
	var about map[string]json.RawMessage
	if err := checkpoint.ReadJSON(filepath.Join(made, checkpointFile), &about, false); err != nil {
		return err
	}
	var steps []int
	if err := json.Unmarshal(about["steps"], &steps); err != nil {
		return err
	}
	if about["base"], err = json.Marshal(t.Inputs[engine.BaseRole].ID); err != nil {
		return err
	}
	take := func(role, from string, step int) error {
		to, err := t.Out(role)
		if err != nil {
			return err
		}
		if about["steps"], err = json.Marshal([]int{step}); err != nil {
			return err
		}
		for _, part := range []string{"transformer", "text_encoder", "adapter"} {
			if _, err := os.Stat(filepath.Join(from, part)); err != nil {
				continue
			}
			if err := os.CopyFS(filepath.Join(to, part), os.DirFS(filepath.Join(from, part))); err != nil {
				return err
			}
		}
		return kit.WriteJSON(filepath.Join(to, checkpointFile), about)
	}
	end := steps[len(steps)-1]
	if err := take(engine.CheckpointRole, made, end); err != nil {
		return err
	}
	for _, step := range t.Keep {
		from := filepath.Join(made, "steps", fmt.Sprint(step))
		if step == end {
			from = made
		}
		if err := take(filepath.Join("steps", fmt.Sprint(step)), from, step); err != nil {
			return err
		}
	}
	return nil
}

// revisions returns the stages that the verbs run, that of the embedder and the method of training, each
// with its revision: a text that changes when what they compute does.
func revisions() string {
	of := func(k stage.Kind) string { return fmt.Sprintf("%s %d", k, k.Def().Revision) }
	m, err := finetune.ByName(finetune.RewardWeighted)
	if err != nil {
		panic(err) // it is one of the methods
	}
	return fmt.Sprintf("%s, %s, %s, %s, %s %d", of(stage.Draw), of(stage.Judge), of(stage.Embed), of(stage.Finetune), m.Name(), m.Revision())
}
