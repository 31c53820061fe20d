package worker

import (
	"strings"
	"testing"

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
	m := Machine(device.Device{Class: device.Go, Name: "cpu"})
	if m.Backend != device.Go || m.Device != "cpu" || !strings.HasPrefix(m.Build, "ablate ") || !strings.HasPrefix(m.Environment, "backend go\n") || m.CPU == "" {
		t.Errorf("machine %+v", m)
	}
}
