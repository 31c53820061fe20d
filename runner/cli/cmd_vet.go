package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"

	"ablate/experiments/language"
	"ablate/models/backend"
	"ablate/runner/stage"
	"ablate/runner/study"
)

func newVet(g *globals) *cobra.Command {
	var f studyFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "vet STUDY",
		Short: "Check everything that can be checked before anything runs",
		Long: `Checks the study itself, every mistake at once, each with its place in the file;
the checkpoints that it adopts, their configs and weights; and whether the
memory of the device can hold what the study needs at the least.
` + exitHelp,
		Example: "  ablate vet experiments/quickstart",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runVet(cmd.Context(), g, f, args[0], asJSON)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print findings, or mistakes, as JSON")
	return cmd
}

func runVet(ctx context.Context, g *globals, f studyFlags, path string, asJSON bool) error {
	list, err := g.vet(ctx, path, f)
	var mistakes *language.Errors
	if asJSON && (err == nil || errors.As(err, &mistakes)) {
		// One shape, whatever was found.
		out := struct {
			OK       bool              `json:"ok"`
			Findings []finding         `json:"findings"`
			Mistakes []*language.Error `json:"mistakes"`
		}{err == nil, list, []*language.Error{}}
		if out.Findings == nil {
			out.Findings = []finding{}
		}
		if mistakes != nil {
			out.Mistakes = mistakes.List
		}
		if jerr := writeJSON(g.stdout, out); jerr != nil || err == nil {
			return jerr
		}
		return printedError{err}
	}
	if err != nil {
		return err
	}
	for _, f := range list {
		fmt.Fprintf(g.stdout, "ok  %-11s %s\n", f.What, f.Detail)
	}
	return nil
}

// vet returns what was found in order, or what is wrong.
func (g *globals) vet(ctx context.Context, path string, f studyFlags) ([]finding, error) {
	l, err := g.open(ctx, path, f)
	if err != nil {
		return nil, err
	}
	detail := l.Name + ": " + runs(l.Views)
	if n := len(l.Excluded); n > 0 {
		detail += fmt.Sprintf(", %s excluded by where", many(n, "point"))
	}
	list := []finding{{What: "study", OK: true, Detail: detail}}
	embedders := l.embedders()
	var wrong language.Errors
	for _, file := range l.Files {
		files, err := stage.CheckCheckpoint(ctx, file.Path, embedders[file.Path])
		if err != nil {
			wrong.List = append(wrong.List, file.Mistake(err.Error(), ""))
			continue
		}
		list = append(list, finding{What: "checkpoint", OK: true, Detail: fmt.Sprintf("%s: %s that fit together", file.Path, many(len(files), "file"))})
	}
	if len(wrong.List) > 0 {
		return nil, &wrong
	}
	if l.Graph, err = l.layOut(ctx, l.Views); err != nil {
		return nil, err
	}
	class, err := l.class(f.backend)
	if err != nil {
		return nil, err
	}
	memory, err := vetMemory(ctx, l.Graph, class)
	if err != nil {
		return nil, fmt.Errorf("study %s: %w", l.Name, err)
	}
	return append(list, memory), nil
}

// embedders are the checkpoints from which a reward takes its embedder.
func (l *loaded) embedders() map[string]bool {
	need := map[string]bool{}
	var of language.Content
	for _, v := range l.Views {
		if of.Same(v.Trial.Content) {
			continue
		}
		of = v.Trial.Content
		if c := of.Config(); c.Model.Checkpoint != nil && c.Embedder == nil && c.Reward.Learns() {
			path := c.Model.Checkpoint.Path
			if !filepath.IsAbs(path) {
				path = filepath.Join(l.Study.Dir, path)
			}
			need[path] = true
		}
	}
	return need
}

// vetMemory compares the memory that the study needs at the least with that of
// the device.
func vetMemory(ctx context.Context, graph *study.Graph, class string) (finding, error) {
	var need int64
	var by *study.Action
	for _, a := range graph.Actions {
		if n := stage.Memory(a.Params); n > need {
			need, by = n, a
		}
	}
	have, where := hostMemory(), "this machine"
	if class == backend.CUDA {
		have, where = gpuMemory(ctx), "the GPU"
	}
	f := finding{What: "memory", OK: true}
	switch {
	case by == nil:
		f.Detail = "nothing to compute"
	case have == 0:
		f.Detail = fmt.Sprintf("%s needs at least %s; how much %s has could not be read", by.Kind, bytesText(need), where)
	case need > have:
		return f, fmt.Errorf("%s needs at least %s of memory, and %s has %s: make its model, batch or data smaller",
			by.Label(), bytesText(need), where, bytesText(have))
	default:
		f.Detail = fmt.Sprintf("%s has %s; at least %s are needed (by %s), and some more by its backend", where, bytesText(have), bytesText(need), by.Kind)
	}
	return f, nil
}

// hostMemory is the memory that this process may have, in bytes: the machine's,
// or that of its control group where that is less; 0 where neither can be read.
func hostMemory() int64 {
	least := uint64(math.MaxInt64)
	for _, read := range []func() (uint64, error){memlimit.FromSystem, memlimit.FromCgroup} {
		if n, err := read(); err == nil && n > 0 {
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return int64(least)
}

// gpuMemory is that of the first GPU that NVIDIA's own tool lists.
func gpuMemory(ctx context.Context) int64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(out), "\n")
	mib, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	if err != nil {
		return 0
	}
	return mib << 20
}
