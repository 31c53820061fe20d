package native

import (
	"encoding/json"

	"ablate/models/backend"
	"ablate/runner/engine"
)

// Names in the description.
const (
	modelFormat   = "shapes" // format of a checkpoint of load; those of train are the stage's
	stream        = "training"
	correctColumn = "correct"
	cosineColumn  = "cosine"
)

// describe returns what the engine can do. Raise the revision of a verb when what this package
// makes of a task changes; changes of the stages are in Identity.
func describe() engine.Description {
	yes := json.RawMessage(`{"above": 0}`)
	return engine.Description{
		Protocols: []int{engine.Protocol}, Name: "ablate-shapes", Version: "1", Identity: revisions(), Understands: []string{"emit:noise"},
		Environment: engine.Environment{Packages: []string{backend.PluginPackage + "==" + backend.PluginVersion}},
		Verbs: map[string]*engine.Verb{
			engine.Load:   {Revision: 1, Serve: true, Params: json.RawMessage(weightsSchema)},
			engine.Sample: {Revision: 1, Serve: true, Noise: "ablate-shapes", Formats: []string{modelFormat, "parts", "adapter"}, Params: json.RawMessage(sampleSchema)},
			engine.Train: {Revision: 1, Stop: "file", Resume: "exact", Keeps: true, Format: "parts", Formats: []string{"adapter"}, Seeds: []string{stream},
				Inputs: map[string]engine.Input{engine.BaseRole: {}, engine.ImagesRole: {Columns: []string{"prompt", "score"}},
					engine.PretrainingRole: {Columns: []string{"prompt"}, When: map[string]json.RawMessage{"beta": yes}}},
				Params: json.RawMessage(trainSchema)},
			engine.Score: {Revision: 1, Serve: true, Params: json.RawMessage(weightsSchema),
				Columns: map[string]engine.Column{correctColumn: {Kind: "verdict"}, cosineColumn: {Kind: "real"}}},
			engine.Embed: {Revision: 1, Serve: true, Params: json.RawMessage(weightsSchema)},
		},
		Prompts: []string{"two red circles", "one green bar", "three yellow circles on a white background", "four red bars",
			"one circle on a black background", "green circles on a purple background", "two bars", "yellow shapes on a white background"},
		Probe: map[string]json.RawMessage{
			engine.Load: json.RawMessage(`{"from": "random"}`), engine.Sample: json.RawMessage(`{"steps": 3}`),
			engine.Train: json.RawMessage(`{"beta": 0.5, "steps": 40, "batch": 4, "learning_rate": 0.01, "warmup": 2}`),
			engine.Score: json.RawMessage(`{"from": "random"}`), engine.Embed: json.RawMessage(`{"from": "random"}`),
		},
	}
}

const weightsSchema = `{"type": "object", "properties": {
  "from": {"type": "string", "enum": ["folder", "random"], "description": "a checkpoint folder, or a tiny model of random weights, with which all can be tried and nothing is shown"},
  "folder": {"type": "string", "description": "absolute path of a folder that ablate export has written; to score and embed it needs an embedder", "x-unused": {"from": ["random"]}},
  "seed": {"type": "integer", "minimum": 1, "default": 1, "description": "of the random weights", "x-unused": {"from": ["folder"]}, "x-probe": [2]}}}`

const sampleSchema = `{"type": "object", "properties": {
  "steps": {"type": "integer", "minimum": 1, "default": 16, "description": "calls of the model for one image", "x-unit": "steps"},
  "shift": {"type": "number", "exclusiveMinimum": 0, "default": 1.5, "description": "how far the steps are moved towards noise; 1: evenly spaced", "x-probe": [1, 4]}}}`

const trainSchema = `{"type": "object", "properties": {
  "method": {"type": "string", "enum": ["reward-weighted", "filtered"], "default": "reward-weighted", "description": "what the weight of an image is: its score, or 1"},
  "beta": {"type": "number", "minimum": 0, "default": 0, "description": "weight of the loss on pretraining images"},
  "steps": {"type": "integer", "minimum": 1, "default": 400, "description": "updates", "x-unit": "steps", "x-probe": [20]},
  "batch": {"type": "integer", "minimum": 1, "default": 64, "description": "generated images of a step; with beta, half as many of the pretraining images too", "x-unit": "images", "x-probe": [2]},
  "learning_rate": {"type": "number", "exclusiveMinimum": 0, "default": 0.001, "description": "of AdamW", "x-probe": [0.001]},
  "warmup": {"type": "integer", "minimum": 0, "default": 30, "description": "steps in which the learning rate rises", "x-unit": "steps", "x-probe": [0]},
  "schedule": {"type": "string", "enum": ["constant", "linear", "cosine"], "default": "linear", "description": "of the learning rate after the warmup"},
  "rank": {"type": "integer", "minimum": 0, "default": 0, "description": "of a low-rank update of the attention's weights; 0: all weights of the denoiser are trained", "x-probe": [2]}}}`
