package scheduler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"ablate/models/checkpoint"
)

// The classes of diffusers that have a plan.
const (
	DDIM      = "DDIMScheduler"
	DDPM      = "DDPMScheduler"
	Euler     = "EulerDiscreteScheduler"
	DPMSolver = "DPMSolverMultistepScheduler"
	PNDM      = "PNDMScheduler"
)

// A Config is a sampler: a class, and the values of a scheduler_config.json, where a missing
// key has the default of the class. A class ignores the keys of others.
type Config struct {
	Class string `json:"_class_name"`
	Schedule
	Spacing         string   `json:"timestep_spacing"`
	Offset          int      `json:"steps_offset"`            // added to the timesteps of the spacing leading
	ClipSample      bool     `json:"clip_sample"`             // DDIM, DDPM: must be false
	AlphaToOne      bool     `json:"set_alpha_to_one"`        // DDIM, PNDM: ᾱ before timestep 0 is 1, and not ᾱ_0
	SkipPRK         bool     `json:"skip_prk_steps"`          // PNDM: must be true
	Variance        string   `json:"variance_type,omitempty"` // DDPM
	FinalSigmas     string   `json:"final_sigmas_type"`       // Euler, DPM-Solver++: zero or sigma_min
	Karras          bool     `json:"use_karras_sigmas"`       // Euler, DPM-Solver++
	SigmaMin        *float64 `json:"sigma_min"`               // Euler with Karras
	SigmaMax        *float64 `json:"sigma_max"`               // Euler with Karras
	LowerOrderFinal bool     `json:"lower_order_final"`       // DPM-Solver++
	EulerAtFinal    bool     `json:"euler_at_final"`          // DPM-Solver++
}

// A class has a sampler's plan, its defaults, and the values that this package computes of
// those that diffusers has. A key without values may only be null.
type class struct {
	plan     func(c Config, n int, eta float64) (*Plan, error)
	defaults Config
	values   map[string][]any
}

var spacings = []any{Leading, Linspace, Trailing}

var classes = map[string]class{
	DDIM: {Config.ddim, Config{Spacing: Leading, ClipSample: true, AlphaToOne: true}, map[string][]any{
		"timestep_spacing": spacings, "clip_sample": {false}, "thresholding": {false},
	}},
	DDPM: {Config.ddpm, Config{Spacing: Leading, ClipSample: true, Variance: "fixed_small"}, map[string][]any{
		"timestep_spacing": spacings, "clip_sample": {false}, "thresholding": {false},
		"variance_type": {"fixed_small", "fixed_small_log", "fixed_large"},
	}},
	Euler: {Config.euler, Config{Spacing: Linspace, FinalSigmas: "zero"}, map[string][]any{
		"timestep_spacing": spacings, "final_sigmas_type": {"zero", "sigma_min"}, "interpolation_type": {"linear"},
		"timestep_type": {"discrete"}, "use_exponential_sigmas": {false}, "use_beta_sigmas": {false},
	}},
	DPMSolver: {Config.dpmSolver, Config{Spacing: Linspace, FinalSigmas: "zero", LowerOrderFinal: true}, map[string][]any{
		"timestep_spacing": spacings, "final_sigmas_type": {"zero", "sigma_min"}, "algorithm_type": {"dpmsolver++"},
		"solver_type": {"midpoint"}, "solver_order": {2.}, "thresholding": {false}, "variance_type": {}, "lambda_min_clipped": {},
		"use_exponential_sigmas": {false}, "use_beta_sigmas": {false}, "use_lu_lambdas": {false}, "use_flow_sigmas": {false},
	}},
	PNDM: {Config.pndm, Config{Spacing: Leading}, map[string][]any{
		"timestep_spacing": spacings, "skip_prk_steps": {true}, "rescale_betas_zero_snr": {false}, "prediction_type": {Epsilon, VPrediction},
	}},
}

// Classes are the classes of diffusers that have a plan, sorted.
func Classes() []string { return slices.Sorted(maps.Keys(classes)) }

func unknownClass(name string) error {
	return fmt.Errorf("scheduler %q is unknown; choose %s", name, strings.Join(Classes(), ", "))
}

// Read reads a scheduler_config.json as a sampler of a class, or of the file's own class where
// it is "". Errors begin with the path.
func Read(path, class string) (Config, error) {
	f, size, err := checkpoint.OpenRegular(path)
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	if size > 32<<20 {
		return Config{}, fmt.Errorf("%s: %d bytes are too many for a scheduler; put a scheduler_config.json there", path, size)
	}
	b, err := io.ReadAll(io.LimitReader(f, size))
	if err == nil {
		var c Config
		if c, err = Decode(b, class); err == nil {
			return c, nil
		}
	}
	return Config{}, fmt.Errorf("%s: %w", path, err)
}

// Python writes an infinite number, which is not JSON, as the default of lambda_min_clipped.
var infinite = regexp.MustCompile(`("lambda_min_clipped"\s*:\s*)-Infinity\b`)

// Decode is Read of a file's contents.
func Decode(b []byte, class string) (Config, error) {
	b = infinite.ReplaceAll(b, []byte("${1}null"))
	var keys map[string]any
	if err := json.Unmarshal(b, &keys); err != nil {
		return Config{}, fmt.Errorf("must be a JSON object: %w", err)
	}
	if own, ok := keys["_class_name"].(string); class == "" && ok {
		class = own
	}
	if class == "" {
		return Config{}, fmt.Errorf("_class_name is missing; choose the scheduler by name: %s", strings.Join(Classes(), ", "))
	}
	kind, ok := classes[class]
	if !ok {
		return Config{}, unknownClass(class)
	}
	c := kind.defaults
	c.Schedule = Schedule{Steps: 1000, BetaStart: .0001, BetaEnd: .02, Betas: Linear, Prediction: Epsilon}
	if err := json.Unmarshal(b, &c); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			err = fmt.Errorf("%s is a %s: must be of type %s", wrong.Field[strings.LastIndex(wrong.Field, ".")+1:], wrong.Value, wrong.Type)
		}
		return Config{}, err
	}
	c.Class = class
	return c, c.check(keys)
}

// check returns an error for values that are not valid, or that the class does not compute.
// keys are those of the file.
func (c Config) check(keys map[string]any) error {
	if err := c.Schedule.Check(); err != nil {
		return err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	values := maps.Clone(keys)
	if err := json.Unmarshal(b, &values); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(classes[c.Class].values)) {
		allowed := classes[c.Class].values[key]
		if v := values[key]; v != nil && !slices.Contains(allowed, v) {
			missing := ""
			if keys[key] == nil {
				missing = " (its default, because it is missing)"
			}
			must := "null"
			if len(allowed) > 0 {
				must = strings.Trim(strings.ReplaceAll(fmt.Sprint(allowed), " ", " or "), "[]")
			}
			return fmt.Errorf("%s is %v%s: must be %s for %s; set it in a copy of the file, or choose another scheduler", key, v, missing, must, c.Class)
		}
	}
	switch {
	case c.Offset < 0 || c.Offset >= c.Steps:
		return fmt.Errorf("steps_offset is %d: it must be from 0 to %d", c.Offset, c.Steps-1)
	case c.SigmaMin != nil && !(*c.SigmaMin > 0):
		return fmt.Errorf("sigma_min is %v: must be above 0, or null", *c.SigmaMin)
	case c.SigmaMax != nil && (!(*c.SigmaMax > 0) || c.SigmaMin != nil && *c.SigmaMin >= *c.SigmaMax):
		return fmt.Errorf("sigma_max is %v: must be above 0 and sigma_min, or null", *c.SigmaMax)
	}
	return nil
}
