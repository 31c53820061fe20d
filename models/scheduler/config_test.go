package scheduler

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// saved is a file as diffusers 0.42 saves it, with a number that is not JSON.
const saved = `{
  "_class_name": "DPMSolverMultistepScheduler",
  "_diffusers_version": "0.42.1",
  "algorithm_type": "dpmsolver++",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "dynamic_thresholding_ratio": 0.995,
  "euler_at_final": false,
  "final_sigmas_type": "zero",
  "flow_shift": 1.0,
  "lambda_min_clipped": -Infinity,
  "lower_order_final": true,
  "num_train_timesteps": 1000,
  "prediction_type": "v_prediction",
  "rescale_betas_zero_snr": false,
  "sample_max_value": 1.0,
  "solver_order": 2,
  "solver_type": "midpoint",
  "steps_offset": 1,
  "thresholding": false,
  "time_shift_type": "exponential",
  "timestep_spacing": "leading",
  "trained_betas": null,
  "use_beta_sigmas": false,
  "use_dynamic_shifting": false,
  "use_exponential_sigmas": false,
  "use_flow_sigmas": false,
  "use_karras_sigmas": true,
  "use_lu_lambdas": false,
  "variance_type": null
}`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scheduler_config.json")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRead: a file as diffusers saves it, and a sparse one, whose missing keys have the defaults
// of the class that is chosen.
func TestRead(t *testing.T) {
	c, err := Read(write(t, saved), "")
	if err != nil || c.Class != DPMSolver || c.Prediction != VPrediction || c.Spacing != Leading || c.Offset != 1 || !c.Karras || c.BetaEnd != .012 {
		t.Errorf("%+v, %v", c, err)
	}
	sparse := write(t, `{"_class_name": "PNDMScheduler", "skip_prk_steps": true, "clip_sample": false, "timestep_spacing": null, "later": [1]}`)
	for class, want := range map[string]Config{
		"":        {Class: PNDM, Spacing: Leading},
		DDIM:      {Class: DDIM, Spacing: Leading, AlphaToOne: true},
		DDPM:      {Class: DDPM, Spacing: Leading, Variance: "fixed_small"},
		Euler:     {Class: Euler, Spacing: Linspace, FinalSigmas: "zero"},
		DPMSolver: {Class: DPMSolver, Spacing: Linspace, FinalSigmas: "zero", LowerOrderFinal: true},
	} {
		c, err := Read(sparse, class)
		got := Config{Class: c.Class, Spacing: c.Spacing, AlphaToOne: c.AlphaToOne, Variance: c.Variance, FinalSigmas: c.FinalSigmas, LowerOrderFinal: c.LowerOrderFinal}
		if err != nil || got.Class != want.Class || got.Spacing != want.Spacing || got.AlphaToOne != want.AlphaToOne || got.Variance != want.Variance ||
			got.FinalSigmas != want.FinalSigmas || got.LowerOrderFinal != want.LowerOrderFinal || c.ClipSample {
			t.Errorf("%q: %+v, want %+v; %v", class, c, want, err)
		}
		if a := c.Alphas(); c.Steps != 1000 || c.Prediction != Epsilon || math.Abs(a[0]-.9999) > 1e-12 || math.Abs(a[999]-4.0358e-5) > 1e-8 {
			t.Errorf("%q: the defaults give %d alphas from %v to %v", class, len(a), a[0], a[len(a)-1])
		}
	}
}

// TestRefused: what a file has and this package does not compute is an error that names the
// file, the key, its value and what to do.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, class, want string }{
		{``, "", "must be a JSON object"},
		{`[]`, "", "must be a JSON object"},
		{`{} {}`, "", "must be a JSON object"},
		{`{}`, "", "_class_name is missing; choose the scheduler by name: DDIMScheduler, "},
		{`{"_class_name": 3}`, "", "_class_name is missing"},
		{`{"_class_name": "UniPCMultistepScheduler"}`, "", `scheduler "UniPCMultistepScheduler" is unknown; choose DDIMScheduler, `},
		{`{}`, "ddim", `scheduler "ddim" is unknown`},
		{`{}`, DDIM, "clip_sample is true (its default, because it is missing): must be false for DDIMScheduler; set it in a copy of the file, or choose another scheduler"},
		{`{"clip_sample": true}`, DDPM, "clip_sample is true: must be false for DDPMScheduler"},
		{`{"clip_sample": false, "thresholding": true}`, DDIM, "thresholding is true: must be false"},
		{`{"clip_sample": false, "variance_type": "learned_range"}`, DDPM, "variance_type is learned_range: must be fixed_small or fixed_small_log or fixed_large"},
		{`{}`, PNDM, "skip_prk_steps is false (its default, because it is missing): must be true"},
		{`{"skip_prk_steps": true, "prediction_type": "sample"}`, PNDM, "prediction_type is sample: must be epsilon or v_prediction"},
		{`{"skip_prk_steps": true, "rescale_betas_zero_snr": true}`, PNDM, "rescale_betas_zero_snr is true: must be false"},
		{`{"prediction_type": "flow_prediction"}`, DPMSolver, `prediction_type is "flow_prediction": must be epsilon, v_prediction or sample`},
		{`{"timestep_spacing": "even"}`, Euler, "timestep_spacing is even: must be leading or linspace or trailing"},
		{`{"Timestep_Spacing": "even"}`, Euler, "timestep_spacing is even"},
		{`{"final_sigmas_type": "one"}`, Euler, "final_sigmas_type is one: must be zero or sigma_min"},
		{`{"interpolation_type": "log_linear"}`, Euler, "interpolation_type is log_linear: must be linear"},
		{`{"use_beta_sigmas": true}`, Euler, "use_beta_sigmas is true"},
		{`{"timestep_type": "continuous"}`, Euler, "timestep_type is continuous: must be discrete"},
		{`{"timestep_type": ["discrete"]}`, Euler, "timestep_type is [discrete]: must be discrete"},
		{`{"sigma_min": 0}`, Euler, "sigma_min is 0: must be above 0"},
		{`{"sigma_min": 2, "sigma_max": 1}`, Euler, "sigma_max is 1: must be above 0 and sigma_min"},
		{`{"solver_order": 3}`, DPMSolver, "solver_order is 3: must be 2"},
		{`{"algorithm_type": "sde-dpmsolver++"}`, DPMSolver, "algorithm_type is sde-dpmsolver++: must be dpmsolver++"},
		{`{"lambda_min_clipped": -5.1}`, DPMSolver, "lambda_min_clipped is -5.1: must be null"},
		{`{"variance_type": "learned"}`, DPMSolver, "variance_type is learned: must be null"},
		{`{"use_flow_sigmas": true}`, DPMSolver, "use_flow_sigmas is true"},
		{`{"num_train_timesteps": 0}`, Euler, "num_train_timesteps is 0: it must be from 1 to 1048576"},
		{`{"num_train_timesteps": 9999999}`, Euler, "num_train_timesteps is 9999999"},
		{`{"num_train_timesteps": "1000"}`, Euler, "num_train_timesteps is a string: must be of type int"},
		{`{"steps_offset": 1000}`, Euler, "steps_offset is 1000: it must be from 0 to 999"},
		{`{"beta_start": 0.5, "beta_end": 0.1}`, Euler, "beta_start is 0.5 and beta_end 0.1: must be 0 < beta_start <= beta_end < 1"},
		{`{"beta_schedule": "sigmoid"}`, Euler, `beta_schedule is "sigmoid": must be linear, scaled_linear or squaredcos_cap_v2`},
		{`{"trained_betas": [0.1, 0.2]}`, Euler, "trained_betas has 2 values and num_train_timesteps is 1000"},
		{`{"trained_betas": [0.1, 1], "num_train_timesteps": 2}`, Euler, "trained_betas[1] is 1: must be between 0 and 1"},
		{`{"trained_betas": [], "num_train_timesteps": 1}`, Euler, "trained_betas has 0 values"},
		{`{"rescale_betas_zero_snr": true, "num_train_timesteps": 1}`, Euler, "rescale_betas_zero_snr is true and num_train_timesteps is 1"},
	} {
		path := write(t, c.text)
		_, err := Read(path, c.class)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %q: %v, want %q", c.text, c.class, err, c.want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.json"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestPlanRefused: what a plan finds only for one number of steps.
func TestPlanRefused(t *testing.T) {
	for _, c := range []struct {
		text, class string
		n           int
		want        string
	}{
		{`{"steps_offset": 1, "skip_prk_steps": true}`, PNDM, 1000, "1000 steps with steps_offset 1 begin at timestep 1000, and the last of training is 999; take fewer steps"},
		{`{"timestep_spacing": "leading"}`, DPMSolver, 1000, "have timestep 0 twice; take fewer steps"},
		{`{"clip_sample": false, "rescale_betas_zero_snr": true, "timestep_spacing": "trailing"}`, DDIM, 10, "step 1 of 10, at timestep 999, has no finite solution for prediction_type epsilon"},
		{`{"use_karras_sigmas": true, "sigma_min": 100000}`, Euler, 10, "sigma_min must be below sigma_max"},
	} {
		config, err := Decode([]byte(c.text), c.class)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Plan(c.n, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

// FuzzDecode: any bytes are refused or give a sampler whose plans are finite.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(saved), uint(10))
	f.Add([]byte(`{"_class_name": "PNDMScheduler", "skip_prk_steps": true, "steps_offset": 1}`), uint(20))
	f.Add([]byte(`{"_class_name": "DDIMScheduler", "clip_sample": false, "trained_betas": [0.1, 0.2], "num_train_timesteps": 2}`), uint(1))
	f.Add([]byte(`{"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true, "sigma_min": 0.1, "rescale_betas_zero_snr": true}`), uint(3))
	f.Fuzz(func(t *testing.T, b []byte, n uint) {
		c, err := Decode(b, "")
		if err != nil || c.Steps > 5000 {
			return
		}
		p, err := c.Plan(int(n%1000), 0)
		if err != nil {
			return
		}
		if len(p.Steps) == 0 || !(p.InitSigma > 0) || math.IsInf(p.InitSigma, 0) {
			t.Errorf("%s: %+v", b, p)
		}
		for _, s := range p.Steps {
			if !(s.Time >= 0 && s.Time < float64(c.Steps)) {
				t.Errorf("%s: timestep %v", b, s.Time)
			}
		}
	})
}
