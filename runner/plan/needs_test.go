package plan

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ablate/experiments/language"
	"ablate/models/backend"
	"ablate/runner/internal/example"
	"ablate/runner/layout"
	"ablate/runner/resource"
	"ablate/runner/stage"
)

// TestNeeds: a stage that computes on CUDA needs a GPU alone and every stage a CPU, unless the
// site says otherwise. Without GPUs none counts on another backend.
func TestNeeds(t *testing.T) {
	four, none := 4, 0
	s := &language.Study{Machine: []language.Resources{
		{Stage: "finetune", CPUs: &four, Memory: "8GiB", GPUMemory: "20GiB", Time: "90m"}, {Stage: "score", GPUs: &none},
	}}
	cuda, err := NewNeeds(s, backend.CUDA)
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[stage.Kind]resource.Need{
		stage.Finetune: {CPUs: 4, GPUs: 1, Memory: 8 << 30, GPUMemory: 20 << 30, Time: 90 * time.Minute},
		stage.Pretrain: {CPUs: 1, GPUs: 1}, stage.Score: {CPUs: 1}, stage.Judge: {CPUs: 1},
	} {
		if got := cuda[Needer{kind, ""}]; got != want {
			t.Errorf("%s on CUDA needs %+v, want %+v", kind, got, want)
		}
	}
	s.Machine[1].GPUs = &four
	cpu, err := NewNeeds(s, backend.CPU)
	if err != nil {
		t.Fatal(err)
	}
	score := &layout.Action{Spec: &layout.Spec{Kind: stage.Score}}
	if n := On(cpu.Of, backend.CPU, resource.Capacity{CPUs: 1})(score); n != (resource.Need{CPUs: 1}) {
		t.Errorf("without GPUs: %+v", n)
	}
	if n := On(cpu.Of, backend.CPU, resource.Capacity{CPUs: 1, GPUs: make([]resource.GPU, 1)})(score); n.GPUs != 4 {
		t.Errorf("with GPUs that are named: %+v", n)
	}
	if list := Misfits([]*layout.Action{score, score, {Spec: &layout.Spec{Kind: stage.Judge}}}, cpu.Of, resource.Capacity{CPUs: 1}); len(list) != 1 || list[0] != "score needs 4 GPUs of 0" {
		t.Errorf("misfits %q", list)
	}
	s.Machine[0].Memory, s.Machine[0].Where = "999999999TiB", &language.Error{File: "machine.cue", Line: 3, Column: 4, Path: "resources.finetune"}
	var wrong *language.Errors
	if _, err := NewNeeds(s, backend.CPU); !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), "machine.cue:3:4: resources.finetune: ") {
		t.Errorf("too much: %v", err)
	}
}

// TestEngineNeeds: an engine needs what the study says, unless the site says otherwise; other
// engines and verbs need what is usual. Its GPUs count on every backend.
func TestEngineNeeds(t *testing.T) {
	one, two, four := 1, 2, 4
	s := &language.Study{
		EngineResources: []language.EngineResources{{Engine: "a", Verb: "train", Resources: language.Resources{GPUs: &four, Memory: "70GiB", Time: "6h"}}, {Engine: "a", Verb: "score", Resources: language.Resources{GPUs: &one}}},
		MachineEngines:  []language.MachineEngine{{Name: "a", Resources: []language.EngineResources{{Engine: "a", Verb: "train", Resources: language.Resources{GPUs: &two}}}}},
	}
	needs, err := NewNeeds(s, backend.CPU)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		kind   stage.Kind
		params stage.Params
		want   resource.Need
	}{
		{stage.EngineTrain, stage.EngineTrainParams{Call: stage.Call{Engine: "a"}}, resource.Need{CPUs: 1, GPUs: 2, Memory: 70 << 30, Time: 6 * time.Hour}},
		{stage.EngineTrain, stage.EngineTrainParams{Call: stage.Call{Engine: "b"}}, resource.Need{CPUs: 1}},
		{stage.EngineScore, stage.EngineScoreParams{Call: stage.Call{Engine: "a"}}, resource.Need{CPUs: 1, GPUs: 1}},
		{stage.EngineSample, stage.EngineSampleParams{Call: stage.Call{Engine: "a"}}, resource.Need{CPUs: 1}},
	} {
		a := &layout.Action{Spec: &layout.Spec{Kind: tc.kind, Params: tc.params}}
		if got := On(needs.Of, backend.CPU, resource.Capacity{CPUs: 1})(a); got != tc.want {
			t.Errorf("%s of engine %s needs %+v, want %+v", tc.kind, stage.EngineOf(tc.params), got, tc.want)
		}
	}
}

// TestFileNeeds: the run file has what each action needs; of an action without it the usual need
// counts.
func TestFileNeeds(t *testing.T) {
	s := example.Study(t, "seeds: [1]\narms: plain: set: {}")
	g, err := layout.NewGraph(s, s.Views, layout.Outside{})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "run.json")
	want := resource.Need{CPUs: 2, GPUs: 1, Time: time.Hour}
	if err := Write(name, Head{Study: s.Dir, Name: s.Name, Backend: backend.CUDA}, g, Needs{{stage.Finetune, ""}: want}); err != nil {
		t.Fatal(err)
	}
	_, read, needs, err := OpenGraph(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range read.Actions {
		switch n := needs.Of(a); {
		case a.Kind == stage.Finetune && n != want:
			t.Errorf("finetune needs %+v", n)
		case a.Kind != stage.Finetune && n != usual(a.Kind, backend.CUDA):
			t.Errorf("without a need in the file, %s needs %+v", a.Kind, n)
		}
	}
}
