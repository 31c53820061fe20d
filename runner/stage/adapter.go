package stage

import (
	"path/filepath"
	"slices"
	"strings"

	"ablate/models/checkpoint"
	"ablate/models/lora"
	"ablate/models/nn"
	"ablate/models/pipeline"
)

// AdapterFiles are those of the low-rank update in a fine-tuning's artifact, named
// and laid out as the Python package peft does. The checkpoint beside them has the
// update added to its weights.
func AdapterFiles() []string {
	return []string{"adapter/adapter_config.json", "adapter/" + adapterFile}
}

const adapterFile = "adapter_model.safetensors"

// adapterConfig is adapter_config.json: the scale of the update is lora_alpha / r.
type adapterConfig struct {
	Type    string   `json:"peft_type"`
	Rank    int      `json:"r"`
	Alpha   int      `json:"lora_alpha"`
	Targets []string `json:"target_modules"`
	Bias    string   `json:"bias"`
}

// writeAdapter writes the factors of each updated layer: lora_A float32[rank, in]
// and lora_B float32[out, rank], of which W + lora_B·lora_A are the merged weights.
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
		named[i] = nn.Param{Name: "base_model.model." + p.Name + ".weight", Shape: p.Shape}
		values[named[i].Name] = updates[p.Name]
	}
	t, err := weightsOf(named, values, "")
	if err != nil {
		return err
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, "adapter", "adapter_config.json"), c); err != nil {
		return err
	}
	return checkpoint.WriteFile(filepath.Join(dir, "adapter", adapterFile), t)
}
