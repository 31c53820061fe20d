package stage

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"ablate/models/checkpoint"
	"ablate/models/lora"
	"ablate/models/nn"
	"ablate/models/pipeline"
)

// A fine-tuned model is stored as its difference from the pretrained model. The folder
// contains either whole components that replace the pretrained ones, or an adapter, which
// is a low-rank update in the layout of the Python package peft. The subfolder steps/N
// has the same for the checkpoint after N steps.

// tunedConfig is the content of checkpoint.json in the folder.
type tunedConfig struct {
	Format   string   `json:"format"`             // formatParts or formatAdapter
	Replaces []string `json:"replaces,omitempty"` // components that are replaced, as names of folders
	Steps    []int    `json:"steps"`              // steps of the checkpoints; the last checkpoint is in the folder itself
	Base     *string  `json:"base,omitempty"`     // id of the pretrained model, where an engine wrote it
}

const (
	formatParts   = "parts"
	formatAdapter = "adapter"
)

const adapterFile = "adapter_model.safetensors"

// tunedFiles returns the files of a fine-tuned model, in its folder and in steps/N.
func tunedFiles() []File {
	var files []File
	for _, prefix := range []string{"", "steps/*/"} {
		for _, name := range append([]string{"transformer/" + denoiserFile, "text_encoder/" + encoderFile}, AdapterFiles()...) {
			files = append(files, File{Name: prefix + name, Optional: true})
		}
	}
	return append(files, File{Name: tunedFile})
}

// AdapterFiles returns the files of an adapter.
func AdapterFiles() []string {
	return []string{"adapter/adapter_config.json", "adapter/" + adapterFile}
}

// adapterConfig is the content of adapter_config.json. The scale of the update is
// lora_alpha / r.
type adapterConfig struct {
	Type    string   `json:"peft_type"`
	Rank    int      `json:"r"`
	Alpha   int      `json:"lora_alpha"`
	Targets []string `json:"target_modules"`
	Bias    string   `json:"bias"`
}

// A checkpointAt is the model after a step of its fine-tuning: its low-rank updates, or
// the weights of the trained component if it has none.
type checkpointAt struct {
	Step    int
	Updates nn.Values
	Weights nn.Values
}

// writeTuned writes the checkpoints of a fine-tuning. trained is the component that it
// trained. The last checkpoint is the fine-tuned model.
func writeTuned(dir string, net pipeline.Network, trained pipeline.Part, l lora.Config, checkpoints []checkpointAt) error {
	c := tunedConfig{Format: formatAdapter}
	if l.Rank == 0 {
		c.Format = formatParts
		if trained != pipeline.EncoderPart {
			c.Replaces = append(c.Replaces, "transformer")
		}
		if trained != pipeline.DenoiserPart {
			c.Replaces = append(c.Replaces, "text_encoder")
		}
	}
	for i, k := range checkpoints {
		c.Steps = append(c.Steps, k.Step)
		to := dir
		if i < len(checkpoints)-1 {
			to = stepDir(dir, k.Step)
		}
		if c.Format == formatAdapter {
			if err := writeAdapter(filepath.Join(to, "adapter"), net, trained, l, k.Updates); err != nil {
				return err
			}
			continue
		}
		for _, part := range c.Replaces {
			file, params, prefix := partOf(net, part)
			t, err := weightsOf(params, k.Weights, prefix)
			if err != nil {
				return err
			}
			if err := checkpoint.WriteFile(filepath.Join(to, file), t); err != nil {
				return err
			}
		}
	}
	return checkpoint.WriteJSON(filepath.Join(dir, tunedFile), c)
}

func stepDir(dir string, step int) string { return filepath.Join(dir, "steps", fmt.Sprint(step)) }

// partOf returns the file of the weights of a component, its parameters, and the prefix
// of their names in a model.
func partOf(net pipeline.Network, part string) (file string, params []nn.Param, prefix string) {
	if part == "text_encoder" {
		return filepath.Join(part, encoderFile), net.TextParams, pipeline.TextPrefix
	}
	return filepath.Join(part, denoiserFile), net.Params, ""
}

// adapterPrefix begins the names of an adapter's tensors.
const adapterPrefix = "base_model.model."

// writeAdapter writes the factors of each updated layer, lora_A float32[rank, in] and
// lora_B float32[out, rank]. The merged weights are W + lora_B·lora_A.
func writeAdapter(dir string, net pipeline.Network, part pipeline.Part, l lora.Config, updates nn.Values) error {
	trained, err := net.Trained(part)
	if err != nil {
		return err
	}
	params, err := l.Params(trained)
	if err != nil {
		return err
	}
	c := adapterConfig{"LORA", l.Rank, l.Rank, nil, "none"}
	named, values := make([]nn.Param, len(params)), make(nn.Values, len(params))
	for i, p := range params {
		layer := p.Name[:strings.LastIndex(p.Name, ".")]
		if !slices.Contains(c.Targets, layer) {
			c.Targets = append(c.Targets, layer)
		}
		named[i] = nn.Param{Name: adapterPrefix + p.Name + ".weight", Shape: p.Shape}
		values[named[i].Name] = updates[p.Name]
	}
	t, err := weightsOf(named, values, "")
	if err != nil {
		return err
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, "adapter_config.json"), c); err != nil {
		return err
	}
	return checkpoint.WriteFile(filepath.Join(dir, adapterFile), t)
}

// readAdapter reads the factors of an adapter for a network.
func readAdapter(dir string, net pipeline.Network) (lora.Config, nn.Values, error) {
	var c adapterConfig
	path := filepath.Join(dir, "adapter_config.json")
	if err := checkpoint.ReadJSON(path, &c, true); err != nil {
		return lora.Config{}, nil, err
	}
	fail := func(format string, args ...any) (lora.Config, nn.Values, error) {
		return lora.Config{}, nil, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
	}
	if c.Type != "LORA" || c.Bias != "none" || c.Rank < 1 || c.Alpha != c.Rank {
		return fail("peft_type is %q, bias %q, r %d and lora_alpha %d; must be \"LORA\", \"none\", and r and lora_alpha positive and equal", c.Type, c.Bias, c.Rank, c.Alpha)
	}
	shapes := map[string][]int{}
	for _, p := range net.AllParams() {
		if layer, ok := strings.CutSuffix(p.Name, ".weight"); ok && len(p.Shape) == 2 {
			shapes[layer] = p.Shape
		}
	}
	var params []nn.Param
	for _, layer := range c.Targets {
		shape, ok := shapes[layer]
		if !ok {
			return fail("target_modules has %q, which the model does not have", layer)
		}
		params = append(params, nn.Param{Name: adapterPrefix + layer + ".lora_A.weight", Shape: []int{c.Rank, shape[1]}},
			nn.Param{Name: adapterPrefix + layer + ".lora_B.weight", Shape: []int{shape[0], c.Rank}})
	}
	files := nn.Values{}
	if err := readWeights(filepath.Join(dir, adapterFile), params, "", files); err != nil {
		return lora.Config{}, nil, err
	}
	updates := make(nn.Values, len(files))
	for name, x := range files {
		updates[strings.TrimSuffix(strings.TrimPrefix(name, adapterPrefix), ".weight")] = x
	}
	return lora.Config{Rank: c.Rank}, updates, nil
}

// readTunedConfig reads checkpoint.json of a fine-tuned model.
func readTunedConfig(dir string) (tunedConfig, error) {
	var c tunedConfig
	path := filepath.Join(dir, tunedFile)
	if err := checkpoint.ReadJSON(path, &c, true); err != nil {
		return c, err
	}
	bad := slices.ContainsFunc(c.Replaces, func(p string) bool { return p != "transformer" && p != "text_encoder" })
	switch {
	case c.Format != formatParts && c.Format != formatAdapter:
		return c, fmt.Errorf("%s: format is %q; must be %q or %q", path, c.Format, formatParts, formatAdapter)
	case bad || (len(c.Replaces) == 0) != (c.Format == formatAdapter):
		return c, fmt.Errorf("%s: format %q replaces %q; must be transformer, text_encoder or both of format %q", path, c.Format, c.Replaces, formatParts)
	case len(c.Replaces) == 2 && c.Replaces[0] == c.Replaces[1] || len(c.Replaces) > 2:
		return c, fmt.Errorf("%s: replaces has a part twice: %q", path, c.Replaces)
	case len(c.Steps) == 0 || c.Steps[0] < 1 || !slices.IsSortedFunc(c.Steps, func(a, b int) int { return a - b + 1 }):
		return c, fmt.Errorf("%s: steps are %v; must be positive, and each greater than the one before", path, c.Steps)
	}
	return c, nil
}

// checkpointSteps returns the steps of the checkpoints of a fine-tuning.
func checkpointSteps(dir string) ([]int, error) {
	c, err := readTunedConfig(dir)
	return c.Steps, err
}

// tunedAt returns a model after fine-tuning: at the end if step is 0, otherwise at the
// checkpoint after step.
func tunedAt(base *pipeline.Model, tuned string, step int) (*pipeline.Model, error) {
	c, err := readTunedConfig(tuned)
	if err != nil {
		return nil, err
	}
	dir := tuned
	if last := c.Steps[len(c.Steps)-1]; step > 0 && step != last {
		if !slices.Contains(c.Steps, step) {
			return nil, fmt.Errorf("%s has no checkpoint after step %d; it has %v", tuned, step, c.Steps)
		}
		dir = stepDir(tuned, step)
	}
	if c.Format == formatAdapter {
		l, updates, err := readAdapter(filepath.Join(dir, "adapter"), base.Network)
		if err != nil {
			return nil, err
		}
		return base.With(l.Merge(base.Weights, updates)), nil
	}
	weights := nn.Values{}
	for _, part := range c.Replaces {
		file, params, prefix := partOf(base.Network, part)
		if err := readWeights(filepath.Join(dir, file), params, prefix, weights); err != nil {
			return nil, err
		}
	}
	return base.With(weights), nil
}

// Merge writes a fine-tuned model as a complete checkpoint folder. base is the folder of
// the pretrained model and tuned that of the difference. An adapter is added to the
// weights.
func Merge(base, tuned, out string) error {
	c, m, err := readModel(base)
	if err != nil {
		return err
	}
	if m, err = tunedAt(m, tuned, 0); err != nil {
		return err
	}
	return writeModel(out, c, m.Network, m.Weights)
}
