package worker

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"ablate/models/train"
	"ablate/runner/device"
	"ablate/runner/launch"
	"ablate/runner/stage"
)

// TestServeRefuses: a worker on the pure-Go backend refuses to train before it opens
// anything.
func TestServeRefuses(t *testing.T) {
	for _, kv := range (device.Device{Class: device.Go}).Environment() {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	env := stage.NewEnv(nil)
	_, err := serve(t.Context(), env, launch.Task{Stage: string(stage.Pretrain)}, func(launch.Progress) {})
	if err == nil || !strings.HasPrefix(err.Error(), "pretrain: the pure-Go backend") || env.Backend != nil {
		t.Errorf("error %v, backend %v", err, env.Backend)
	}
}

// TestMachine: what the store records names the program's build and the environment.
func TestMachine(t *testing.T) {
	m := Machine(t.Context(), device.Device{Class: device.Go, Name: "cpu"})
	if m.Backend != device.Go || m.Device != "cpu" || !strings.HasPrefix(m.Build, "ablate ") || !strings.HasPrefix(m.Environment, "backend go\n") || m.CPU == "" {
		t.Errorf("machine %+v", m)
	}
}

// TestProgressOf: the loss of a training that diverges does not end its reports.
func TestProgressOf(t *testing.T) {
	r := stage.Report{Report: train.Report{Step: 3, Total: 4, Metrics: []string{"loss", "gradient norm"}, Values: []float64{math.NaN(), 2}}}
	got, err := json.Marshal(progressOf(r))
	if want := `{"step":3,"total":4,"metrics":[{"name":"loss","value":null},{"name":"gradient norm","value":2}]}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}
