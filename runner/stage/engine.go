package stage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ablate/models/finetune"
	"ablate/runner/engine"
)

// Stages that external engines compute (runner/engine).
const (
	EngineLoad   Kind = "engine-load"   // names a model
	EngineSample Kind = "engine-sample" // draws an image for each prompt
	EngineScore  Kind = "engine-score"  // scores or judges images
	EngineTrain  Kind = "engine-train"  // fine-tunes a model
	EngineEmbed  Kind = "engine-embed"  // computes features of images
)

var (
	engineLoadDef = define(runEngineLoad, Def{
		Kind: EngineLoad, Revision: 1, Verb: engine.Load,
		Files: slices.Concat(required("checkpoint/**"), optional(required(modelsFile)...)),
	})
	engineSampleDef = define(runEngineSample, Def{
		Kind: EngineSample, Revision: 1, Verb: engine.Sample,
		Inputs: []Input{{Name: ModelInput}, {Name: TunedInput, Optional: true}, {Name: PromptsInput}},
		Files:  slices.Concat(required(picturesFile), optional(required("images/**")...)),
	})
	engineScoreDef = define(runEngineScore, Def{
		Kind: EngineScore, Revision: 2, Verb: engine.Score,
		Inputs: []Input{{Name: ImagesInput}, {Name: PromptsInput}},
		Files:  required(columnsFile),
	})
	engineTrainDef = define(runEngineTrain, Def{
		Kind: EngineTrain, Revision: 1, Verb: engine.Train, Saves: true,
		Inputs: slices.Concat([]Input{{Name: ModelInput}}, trainingInputs(LabelledList), trainingInputs(UnlabelledList)),
		Files:  slices.Concat(required("checkpoint/**", curvesFile), optional(required("steps/**")...)),
	})
	engineEmbedDef = define(runEngineEmbed, Def{
		Kind: EngineEmbed, Revision: 1, Verb: engine.Embed,
		Inputs: []Input{{Name: ImagesInput, Optional: true}, {Name: PromptsInput, Optional: true}},
		Files:  required(featuresFile),
	})
)

// trainingInputs are the images of a list of prompts, for a training.
func trainingInputs(list string) []Input {
	return []Input{{Name: Of(list, PromptsInput), Optional: true}, {Name: Of(list, ImagesInput), Optional: true}, {Name: Of(list, ScoresInput), Optional: true}}
}

const (
	modelsFile   = "model.json" // digests of the files of a model that lie elsewhere
	picturesFile = "pictures.json"
	featuresFile = "features.safetensors"
)

// A Call is what a stage asks of an engine.
type Call struct {
	Engine      string `json:"engine"`                                      // name in the study
	Command     string `json:"command" key:"engine.command"`                // that the study declares, as JSON
	Revision    int    `json:"revision" key:"engine.revision"`              // of the verb
	Source      string `json:"source,omitempty" key:"engine.source"`        // digest of the program's files, where it identifies results
	Environment string `json:"environment,omitempty" key:"engine.packages"` // digest of its packages, where they identify results
	Params      string `json:"params,omitempty" lines:"json"`               // JSON object of parameters by dotted path
	Recorded    string `json:"recorded,omitempty" key:"-"`                  // the same of parameters that change no result
	GPUs        int    `json:"gpus,omitempty" key:"engine.gpus"`            // their number, where the batch of a training follows it
	Program     string `json:"program" key:"-"`                             // id of the engine's description in the store
}

// params returns all parameters by dotted path.
func (c Call) params() (map[string]any, error) {
	out := map[string]any{}
	for _, text := range []string{c.Params, c.Recorded} {
		if text == "" {
			continue
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			return nil, fmt.Errorf("parameters of engine %s: %w", c.Engine, err)
		}
		for path, v := range m {
			if n, ok := v.(json.Number); ok {
				if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
					v = i
				} else if v, err = n.Float64(); err != nil {
					return nil, err
				}
			}
			out[path] = v
		}
	}
	return out, nil
}

func (Call) memory() float64 { return 0 }

// EstimateOf returns the task of an action whose needs its engine may estimate, without the
// resources; false for native stages and for loads, which compute nothing.
func EstimateOf(p Params) (t engine.EstimateTask, ok bool, err error) {
	var c Call
	var loaded string
	switch p := p.(type) {
	case EngineSampleParams:
		c, loaded, t = p.Call, p.Loaded, engine.EstimateTask{Verb: engine.Sample, Rows: p.Images * p.Models}
	case EngineTrainParams:
		c, loaded, t = p.Call, p.Loaded, engine.EstimateTask{Verb: engine.Train}
	case EngineScoreParams:
		c, t = p.Call, engine.EstimateTask{Verb: engine.Score, Rows: p.Images}
	case EngineEmbedParams:
		c, t = p.Call, engine.EstimateTask{Verb: engine.Embed, Rows: p.Images}
	default:
		return t, false, nil
	}
	if loaded != "" {
		var l EngineLoadParams
		if err := json.Unmarshal([]byte(loaded), &l); err != nil {
			return t, false, err
		}
		if l.Engine == c.Engine { // another engine's parameters mean nothing to this one
			if t.Load, err = l.params(); err != nil {
				return t, false, err
			}
		}
	}
	t.Params, err = c.params()
	return t, err == nil, err
}

func (c Call) engine() string { return c.Engine }

// EngineOf returns the engine that computes a stage with some parameters; empty for native
// stages.
func EngineOf(p Params) string {
	if c, ok := p.(interface{ engine() string }); ok {
		return c.engine()
	}
	return ""
}

// EngineIn returns the engine that the lines of a key name; empty for native stages.
func EngineIn(lines []string) string {
	for _, l := range lines {
		if name, ok := strings.CutPrefix(l, "engine "); ok {
			if s, err := strconv.Unquote(name); err == nil {
				return s
			}
		}
	}
	return ""
}

// EngineLoadParams are the parameters of [EngineLoad].
type EngineLoadParams struct {
	Call
	// Stamp tells apart loads of a model whose files have changed; empty for the first.
	Stamp string `json:"stamp,omitempty" key:"files"`
	// Record is the name of the file in the store that has the model's files as they were.
	Record string `json:"record" key:"-"`
}

func (EngineLoadParams) cost() float64 { return 1 }

// EngineSampleParams are the parameters of [EngineSample].
type EngineSampleParams struct {
	Call
	Part
	Loaded string `json:"loaded" key:"-"` // parameters of the model's load, as JSON

	Candidate int  `json:"candidate,omitempty"` // number of the candidate for best of n; each has other noise for the same prompts
	Steps     bool `json:"steps,omitempty"`     // draw with each checkpoint of the fine-tuning, from the same noise
	Step      int  `json:"step,omitempty"`      // draw with the checkpoint after this step; 0 means the end of the fine-tuning
	Images    int  `json:"images" key:"-"`      // number of images of a set, for the estimate of the cost
	Models    int  `json:"models" key:"-"`      // number of models, each of which draws a set
}

func (p EngineSampleParams) cost() float64 { return float64(p.Models * p.Images) }

// EngineScoreParams are the parameters of [EngineScore].
type EngineScoreParams struct {
	Call
	Images int `json:"images" key:"-"`
}

func (p EngineScoreParams) cost() float64 { return float64(p.Images) }

// EngineTrainParams are the parameters of [EngineTrain].
type EngineTrainParams struct {
	Call
	Seed   int64  `json:"seed" key:"seed.feedback"`
	Loaded string `json:"loaded" key:"-"` // parameters of the model's load, as JSON
	// Keep are the steps whose checkpoints are kept, separated by spaces.
	Keep string `json:"keep,omitempty"`
	// Rows is finetune.Filtered where the best images alone are handed over, by Kept.
	Rows string          `json:"rows,omitempty" key:"/finetune.rows"`
	Kept finetune.Filter `json:"kept,omitzero" key:"/finetune"`
	// Folder is a folder of pretraining images with captions, and Digest that of its content.
	Folder string `json:"folder,omitempty" key:"-"`
	Digest string `json:"digest,omitempty" key:"pretraining"`
	// Scorer is the published reward, where the engine calls it while it trains.
	Scorer Scorer `json:"scorer,omitzero"`
	// Strict says that a training goes on from a saved state in an equal environment only.
	Strict bool `json:"strict,omitempty" key:"-"`
}

// cost returns the number of steps, to which the time of an engine's trainings is in proportion, as that
// of its other tasks is to their rows.
func (p EngineTrainParams) cost() float64 {
	var of struct{ Steps float64 }
	if err := json.Unmarshal([]byte(p.Params), &of); err != nil || of.Steps <= 0 {
		return 600 // of all alike: the engine counts no steps
	}
	return of.Steps
}

// A Scorer is a column of an engine's scores.
type Scorer struct {
	Call
	Column string `json:"column"`
}

// EngineEmbedParams are the parameters of [EngineEmbed].
type EngineEmbedParams struct {
	Call
	// Folder is a folder of images in the place of an artifact, and Digest that of its content.
	Folder string `json:"folder,omitempty" key:"-"`
	Digest string `json:"digest,omitempty" key:"folder"`
	// Part is that of the folder or of the prompts. Of images, all are embedded.
	Part
	Images int `json:"images" key:"-"`
}

func (p EngineEmbedParams) cost() float64 { return float64(p.Images) }
