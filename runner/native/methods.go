package native

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ablate/models/finetune"
	"ablate/models/stable"
	"ablate/runner/engine"
	"ablate/runner/engine/kit"
)

// This file has the methods of models/finetune as methods of the engine of Stable Diffusion.

// constants are the parameters of methods, by method: the constants of experiments/schema/finetune.cue
// under their names there, with their defaults.
//
//go:embed methods.json
var constants []byte

// A kind is a set of methods.
type kind func(finetune.Method) bool

// offline, policy and latent are the methods on given images, those on rollouts, and both.
func offline(m finetune.Method) bool { return !finetune.DrawsItself(m) }
func policy(m finetune.Method) bool  { return finetune.NeedsTrajectories(m) }
func latent(m finetune.Method) bool  { return offline(m) || policy(m) }

// named are the methods of some names.
func named(names ...string) kind {
	return func(m finetune.Method) bool { return slices.Contains(names, m.Name()) }
}

// but are the engine's methods that are not of a kind.
func but(of kind) kind { return func(m finetune.Method) bool { return latent(m) && !of(m) } }

// list returns the names of methods as JSON.
func list(of kind) string {
	var names []string
	for _, m := range finetune.Methods() {
		if of(m) {
			names = append(names, m.Name())
		}
	}
	text, _ := json.Marshal(names) // of strings
	return string(text)
}

// noGradient is why the methods that differentiate a reward are not among the engine's.
const noGradient = "it needs the gradient of the reward, and a scorer is a program that gives numbers"

// absent returns the methods that the engine does not have, with the reason, as JSON.
func absent() string {
	why := map[string]string{}
	for _, m := range finetune.Methods() {
		if !latent(m) {
			why[m.Name()] = noGradient
		}
	}
	text, _ := json.Marshal(why) // of strings
	return string(text)
}

// methodGroups returns the groups of methods' constants, as properties of a schema.
func methodGroups() string {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(constants, &all); err != nil {
		panic(err) // it is a part of the program
	}
	var groups []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		groups = append(groups, fmt.Sprintf(`%q: {"type": "object", "x-unused": {"method": %s}, "properties": %s}`, name, list(but(named(name))), all[name]))
	}
	return strings.Join(groups, ",\n  ")
}

// method takes the method, with its constants, out of the parameters of a task. It is nil where the loss is the
// likelihood by weights of the images, or of pairs.
func method(params map[string]any) (finetune.Method, error) {
	name, _ := params["method"].(string)
	own, err := json.Marshal(params[name])
	if err != nil {
		return nil, err
	}
	delete(params, name)
	m, err := finetune.ByName(name)
	if err != nil {
		return nil, kit.Refuse("method: %w", err)
	}
	if o, ok := m.(finetune.Offline); ok && (o.Loss() == nil || name == finetune.DiffusionDPO) {
		return nil, nil
	}
	var c finetune.Choice
	err = json.Unmarshal(fmt.Appendf(nil, `{"name": %q, "constants": %s}`, name, own), &c)
	return c.Method, err
}

// plan returns how an offline method draws from images. The label of an image without one is good or bad
// as its score is above or below the mean of its prompt's images.
func (p fine) plan(m finetune.Offline, rows []engine.Row) (*finetune.Plan, error) {
	s, prompts := finetune.Source{Mix: 1}, map[string]int{}
	for _, r := range rows {
		if r.Score == nil {
			return nil, kit.Refuse("images: row %d has no score", r.Index)
		}
		if _, ok := prompts[r.Prompt]; !ok {
			prompts[r.Prompt] = len(prompts)
		}
		s.Scores, s.Prompts = append(s.Scores, float32(*r.Score)), append(s.Prompts, prompts[r.Prompt])
	}
	for i, a := range finetune.Advantages(s.Scores, s.Prompts, false) {
		good, judged := a > 0, a != 0
		if label := rows[i].Label; label != "" {
			good, judged = label == "good", true
		}
		s.Good, s.Judged = append(s.Good, good), append(s.Judged, judged)
	}
	pool, err := finetune.NewPool([]finetune.Source{s})
	if err != nil {
		return nil, err
	}
	plan, err := m.Prepare(pool, p.Batch)
	if errors.Is(err, finetune.ErrNothing) {
		return nil, &kit.End{Status: engine.Failed, Class: engine.Data, Err: fmt.Errorf("%w: without labels, an image is good if its score is above the mean of its prompt's images: draw several for each prompt", err)}
	}
	return plan, err
}

// promptStream returns the prompts of a policy as a stream.
func promptStream(t *kit.Task) ([]stable.Stream, error) {
	rows, err := t.Rows(engine.PromptsRole)
	if err != nil {
		return nil, err
	}
	s := stable.Stream{Name: engine.PromptsRole}
	for _, r := range rows {
		s.Items = append(s.Items, stable.Item{Image: &stable.Example{Prompt: r.Prompt}})
	}
	if len(s.Items) == 0 {
		return nil, &kit.End{Status: engine.Failed, Class: engine.Data, Err: errors.New("there are no prompts")}
	}
	return []stable.Stream{s}, nil
}

// scored returns the function that asks the study's scorer for the rewards of drawn images, and one that
// ends the scorer, which the first images start.
func (p fine) scored(ctx context.Context, t *kit.Task) (score stable.Score, end func() error) {
	var scorer *kit.Scorer
	score = func(images [][]uint8, prompts []string) ([]float32, error) {
		dir, err := t.Scratch("drawn")
		if err != nil {
			return nil, err
		}
		if scorer == nil {
			if scorer, err = t.Scorer(ctx, engine.RewardScorer); err != nil {
				return nil, err
			}
		}
		files := make([]string, len(images))
		for i, rgb := range images {
			files[i] = filepath.Join(dir, fmt.Sprintf("%d.png", i))
			if err := writePicture(files[i], picture(rgb, p.Size, p.Size)); err != nil {
				return nil, err
			}
		}
		values, err := scorer.Score(files, prompts)
		if err != nil {
			return nil, err
		}
		out := make([]float32, len(values))
		for i, x := range values {
			if x == nil {
				return nil, &kit.End{Status: engine.Failed, Class: engine.Data, Err: fmt.Errorf("the scorer has no value for a drawn image of %q", prompts[i])}
			}
			out[i] = float32(*x)
		}
		return out, os.RemoveAll(dir)
	}
	return score, func() error {
		if scorer == nil {
			return nil
		}
		return scorer.Close()
	}
}
