package checkup

import (
	"context"
	"fmt"

	"ablate/experiments/language"
	"ablate/models/stable"
	"ablate/runner/device"
	"ablate/runner/layout"
	"ablate/runner/phrase"
	"ablate/runner/project"
	"ablate/runner/resource"
	"ablate/runner/selection"
	"ablate/runner/stage"
)

// Study checks the checkpoints that a study adopts, and whether the device has the memory
// that the study needs. asked is the class of backend as in [project.Project.Class]. The
// project does not need its graph. If the study has mistakes, the error is a
// *language.Errors.
func Study(ctx context.Context, p project.Project, asked string) ([]Finding, error) {
	detail := p.Study.Name + ": " + selection.Summary(p.Study.Views)
	if most := len(p.Whole().Study.Views); most > len(p.Study.Views) {
		detail += fmt.Sprintf(", at most %d as its results come in", most)
	}
	if n := len(p.Study.Excluded); n > 0 {
		detail += fmt.Sprintf(", %s excluded by where", phrase.Count(n, "point"))
	}
	checkpoints, err := checkpoints(ctx, p.Study)
	if err != nil {
		return nil, err
	}
	p.Draft = true
	if p, err = p.LayOut(ctx, p.Study.Views); err != nil {
		return nil, err
	}
	class, err := p.Class(asked)
	if err != nil {
		return nil, err
	}
	memory, err := memory(ctx, p.Graph, class)
	if err != nil {
		return nil, fmt.Errorf("study %s: %w", p.Study.Name, err)
	}
	list := append([]Finding{{What: "study", OK: true, Detail: detail}}, checkpoints...)
	list = append(list, memory)
	for _, l := range p.Lacks {
		list = append(list, Finding{What: "pictures", Detail: fmt.Sprintf("%s: %s: %s", l.Axis, l.Path, l.Why), Do: "put PNG pictures there before 'ablate run'"})
	}
	return list, nil
}

// checkpoints checks the files of the checkpoints that a study adopts.
func checkpoints(ctx context.Context, s *language.Study) ([]Finding, error) {
	var list []Finding
	var wrong language.Errors
	embedders := project.Embedders(s)
	for _, file := range s.Files {
		var files []string
		var err error
		switch file.Axis {
		case "model.checkpoint.path":
			files, err = stage.CheckCheckpoint(ctx, file.Path, embedders[file.Path])
		case "model.program.params.name": // of Stable Diffusion
			if _, err = stable.Open(file.Path); err == nil {
				files, err = stable.Files(file.Path)
			}
		default:
			continue // of an engine
		}
		if err != nil {
			wrong.List = append(wrong.List, file.Mistake(err.Error(), ""))
			continue
		}
		list = append(list, Finding{What: "checkpoint", OK: true, Detail: fmt.Sprintf("%s: %s that fit together", file.Path, phrase.Count(len(files), "file"))})
	}
	if len(wrong.List) > 0 {
		return nil, &wrong
	}
	return list, nil
}

// memory checks whether the device has the least memory that a study needs.
func memory(ctx context.Context, graph *layout.Graph, class string) (Finding, error) {
	have, where := resource.HostMemory(), "this machine"
	if class == device.CUDA {
		have, where = 0, "the GPU"
		if gpus, _ := resource.GPUs(ctx); len(gpus) > 0 {
			have = gpus[0].Memory
		}
	}
	return enough(graph, have, where)
}

// enough checks whether a device with have bytes of memory can run every action. have is
// 0 if the memory of the device is not known; where names the device.
func enough(graph *layout.Graph, have int64, where string) (Finding, error) {
	var need int64
	var by *layout.Action
	for _, a := range graph.Actions {
		if n := stage.Memory(a.Params); n > need {
			need, by = n, a
		}
	}
	f := Finding{What: "memory", OK: true}
	switch {
	case by == nil:
		f.Detail = "nothing to compute"
	case have == 0:
		f.Detail = fmt.Sprintf("%s needs at least %s; how much %s has could not be read", by.Kind, phrase.Bytes(need), where)
	case need > have:
		return f, fmt.Errorf("%s needs at least %s of memory, and %s has %s: make its model, batch or data smaller",
			by.Label(), phrase.Bytes(need), where, phrase.Bytes(have))
	default:
		f.Detail = fmt.Sprintf("%s has %s; at least %s are needed (by %s), plus the memory of the backend itself", where, phrase.Bytes(have), phrase.Bytes(need), by.Kind)
	}
	return f, nil
}
