package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// broken returns the template engine with a fault of testdata/broken.py.
func broken(t *testing.T, fault string) *Engine {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("ABLATE_TEST_STRICT") == "1" {
			t.Fatal(err)
		}
		t.Skip("there is no python3: install it, as in apt-get install python3")
	}
	root := t.TempDir()
	for _, name := range []string{"python/ablate_engine.py", "python/template.py", "testdata/broken.py"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, strings.TrimPrefix(name, "testdata/")), string(data))
	}
	elsewhere := t.TempDir()
	put(t, filepath.Join(elsewhere, "helper.py"), "")
	return &Engine{Name: "broken", Root: root, Command: []string{"python3", "./broken.py"}, Source: []string{"*.py", "python/*.py"}, Env: map[string]string{"FAULT": fault, "ELSEWHERE": elsewhere}}
}

// TestProbe: the template keeps all promises, and each fault is found by its check.
func TestProbe(t *testing.T) {
	const (
		whole   = "a task with the probe's parameters gives whole outputs"
		params  = "each parameter changes the result"
		stops   = "a stop saves the state, and the training goes on exactly"
		killed  = "a training that was killed goes on exactly"
		refused = "unknown parameters and requirements are refused"
		tidy    = "inputs stay as they are, and work/ is left empty"
	)
	for fault, want := range map[string]struct{ verb, check, found string }{
		"none":                         {},
		"row left out":                 {Sample, whole, "index 4; must be 3"},
		"NaN score":                    {Score, whole, "invalid character 'N'"},
		"fixed rate":                   {Train, params, "whatever these parameters are: learning_rate"},
		"fixed rate, read back":        {Train, whole, "computes with learning_rate = 0.05, and the study asks for 0.1"},
		"parameter not used":           {Train, params, "whatever these parameters are: momentum"},
		"one seed for all rows":        {Sample, "each row has an image of its own, and other seeds give others", "0.png and images/1.png are the same image"},
		"one generator a batch":        {Sample, "an image depends on its own row only", "row 4 has another value in a task of 4 rows"},
		"no seed":                      {Sample, "the same task gives the same bytes", "two runs of one task differ"},
		"stream not used":              {Train, "each random stream changes the result", "another seed of the stream noise gives the same bytes"},
		"optimizer left out":           {Train, stops, "it was stopped at the steps [1 2]; out/checkpoint/colours.json then differs"},
		"generator not saved":          {Train, stops, "then differs"},
		"exact at an epoch's end only": {Train, killed, "it was killed; out/"},
		"stop ignored":                 {Train, stops, "it was asked to stop, and went on to its end"},
		"stop without a state":         {Train, stops, "it stopped and saved nothing below state/"},
		"exit at a stop":               {Train, stops, "it ended without the status \"stopped\""},
		"adapter left loaded":          {Sample, "a worker gives the bytes of a process for each task", "differs from that of a process of its own (served again)"},
		"checkpoint rounded":           {Train, "the checkpoint gives the images that the trainer draws at its end", "of the checkpoint is not the one"},
		"unknown parameter accepted":   {Score, refused, "it accepts an unknown parameter"},
		"unknown requirement accepted": {Load, refused, "it accepts an unknown requirement"},
		"untidy":                       {Sample, tidy, "it left work/reward.txt"},
		"input changed":                {Sample, tidy, "it changed its input in/prompts/rows.jsonl"},
		"process left":                 {Sample, tidy, "1 processes still ran"},
		"helper not declared":          {Sample, "the files that it loads are part of its source", "helper.py was loaded, and is not one of the engine's source files"},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			e := broken(t, fault)
			d, err := e.Describe(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			v, err := Probe(t.Context(), e, d, ProbeOptions{Dir: filepath.Join(t.TempDir(), "tasks"), Only: func(c Check) bool {
				return fault == "none" || c.Verb == want.verb && (c.Name == want.check || fault == "one generator a batch")
			}})
			if err != nil {
				t.Fatal(err)
			}
			if fault == "none" {
				for _, c := range v.Checks {
					if c.Outcome != Passed && c.Verb+" "+c.Name != "load a worker gives the bytes of a process for each task" {
						t.Errorf("%+v", c)
					}
				}
				return
			}
			if v.Good() || !slices.ContainsFunc(v.Checks, func(c Check) bool {
				return c.Outcome == Broken && c.Verb == want.verb && c.Name == want.check && strings.Contains(c.Found, want.found) && c.Do != ""
			}) {
				for _, c := range v.Checks {
					t.Logf("%+v", c)
				}
				t.Errorf("it is not found: want %+v", want)
			}
			v.Correct(d)
			switch {
			case want.check == stops && strings.Contains(want.found, "differs") && d.Verbs[Train].Resume != "approximate",
				fault == "stop ignored" && d.Verbs[Train].Stop != "none",
				fault == "one generator a batch" && (d.Verbs[Sample].Rows != "together" || d.Verbs[Sample].Noise != ""),
				fault == "adapter left loaded" && d.Verbs[Sample].Serve,
				fault == "no seed" && d.Verbs[Sample].Repeat != "draws":
				t.Errorf("the claims stay: %+v", d.Verbs)
			}
		})
	}
}
