package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/runner/resource"
)

// fake is a Slurm with answers by command.
type fake struct {
	answers map[string][]any // texts or errors, the last of which repeats
	asked   []string
	scripts []string
	paused  int
}

func (f *fake) ask(_ context.Context, stdin, name string, args ...string) (string, error) {
	f.asked = append(f.asked, strings.Join(append([]string{name}, args...), " "))
	if name == "sbatch" {
		f.scripts = append(f.scripts, stdin)
	}
	list := f.answers[name]
	if len(list) == 0 {
		return "", nil
	}
	if len(list) > 1 {
		f.answers[name] = list[1:]
	}
	if err, ok := list[0].(error); ok {
		return "", err
	}
	return list[0].(string), nil
}

func newFake(t *testing.T, answers map[string][]any) (*Slurm, *fake) {
	f := &fake{answers: answers}
	return &Slurm{Name: "ablate-s", Worker: []string{"/opt/ablate", "worker", "/a b/run.json"}, Dir: t.TempDir(), ask: f.ask,
		sleep: func(context.Context, time.Duration) { f.paused++ }}, f
}

// TestArrays: more workers than an array may have are several arrays.
func TestArrays(t *testing.T) {
	s, f := newFake(t, map[string][]any{"scontrol": {"A = 1\nMaxArraySize            = 11\n"}, "sbatch": {"7\n", "8;cluster\n", "9\n"}})
	if err := s.Start(t.Context(), 25); err != nil {
		t.Fatal(err)
	}
	var sizes []string
	for _, script := range f.scripts {
		for line := range strings.Lines(script) {
			if rest, ok := strings.CutPrefix(line, "#SBATCH --array="); ok {
				sizes = append(sizes, strings.TrimSpace(rest))
			}
		}
	}
	if d := cmp.Diff([]string{"0-10", "0-10", "0-2"}, sizes); d != "" {
		t.Error(d)
	}
	// Another run knows them.
	again := &Slurm{Dir: s.Dir, ask: f.ask}
	f.answers["squeue"] = []any{"7_0|RUNNING|None|node0\n8_1|PENDING|Resources|\n9_3|PENDING|JobHeldAdmin|\n9_0|WINDING_DOWN|None|\n9_1|COMPLETED|None|node1\n9_2|NODE_FAIL|None|node2\n"}
	w, err := again.Count(t.Context())
	if err != nil || w.Running != 1 || w.Waiting != 3 || w.Why != "JobHeldAdmin" || !strings.Contains(w.Ended, "jobs 7, 8, 9 ended: 1 node_fail") {
		t.Errorf("%+v, %v", w, err)
	}
	if last := f.asked[len(f.asked)-1]; !strings.HasSuffix(last, "--jobs=7,8,9") {
		t.Errorf("asked %q", last)
	}
	// A node that failed is excluded.
	if err := again.Start(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if script := f.scripts[len(f.scripts)-1]; !strings.Contains(script, "#SBATCH --exclude=node2\n") {
		t.Errorf("script:\n%s", script)
	}
	if text := again.Leave(t.Context()); !strings.Contains(text, "'scancel 9'") {
		t.Error(text)
	}
	if err := again.Stop(t.Context()); err != nil || f.asked[len(f.asked)-1] != "scancel --quiet 9" {
		t.Errorf("%v, %q", err, f.asked)
	}
}

// TestController: a controller that does not answer is asked again; what is wrong with a job is
// an error at once; jobs that are no longer known have ended.
func TestController(t *testing.T) {
	busy := errors.New("sbatch: exit status 1: sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
	s, f := newFake(t, map[string][]any{"sbatch": {busy, busy, "7\n"}})
	if err := s.Start(t.Context(), 1); err != nil || f.paused != 2 {
		t.Errorf("%v after %d pauses", err, f.paused)
	}
	f.answers["squeue"] = []any{errors.New("squeue: exit status 1: slurm_load_jobs error: Invalid job id specified")}
	if w, err := s.Count(t.Context()); err != nil || w != (Workers{}) {
		t.Errorf("%+v, %v", w, err)
	}
	f.answers["sbatch"] = []any{errors.New("sbatch: exit status 1: sbatch: error: invalid partition specified: gpu")}
	if err := s.Start(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "invalid partition") || f.paused != 2 {
		t.Errorf("%v after %d pauses", err, f.paused)
	}
	f.answers["sbatch"] = []any{busy}
	if err := s.Start(t.Context(), 1); !errors.Is(err, busy) {
		t.Errorf("for ever: %v", err)
	}
	f.answers["sbatch"] = []any{"Submitted\n"}
	if err := s.Start(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "a job's number was expected") {
		t.Error(err)
	}
	if err := os.WriteFile(s.file(), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Slurm{Dir: s.Dir}).Count(t.Context()); err == nil || !strings.Contains(err.Error(), s.file()) {
		t.Error(err)
	}
}

// TestSite: the site's options and commands stand in the script, in this order; lines that
// cannot work are errors with their number.
func TestSite(t *testing.T) {
	s, _ := newFake(t, nil)
	s.Site = filepath.Join(t.TempDir(), SiteFile)
	for text, want := range map[string]string{
		"#!/bin/bash\n# ours\n\n#SBATCH --partition=gpu\n#SBATCH -A lab\nmodule load cuda\n# again\n": "",
		"#SBATCH --gpus=1\n#SBATCH --array=0-3\n":                                                     ":2: ablate sets --array itself",
		"#SBATCH -o out\n":                     ":1: ablate sets --o itself",
		"module load cuda\n#SBATCH --gpus=1\n": ":2: sbatch ignores",
		"#SBATCH partition=gpu\n":              ":1: \"#SBATCH partition=gpu\" has no option",
	} {
		if err := os.WriteFile(s.Site, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := s.open(); err != nil {
			t.Fatal(err)
		}
		script, err := s.script(3, resource.Need{})
		switch {
		case want != "":
			if err == nil || !strings.Contains(err.Error(), s.Site+want) {
				t.Errorf("%q: %v", text, err)
			}
		case err != nil || !strings.Contains(script, "\n#SBATCH --partition=gpu\n#SBATCH -A lab\nmodule load cuda\n# again\n") || !strings.Contains(script, "\n/opt/ablate worker '/a b/run.json' &\n"):
			t.Errorf("%v\n%s", err, script)
		}
	}
}

// TestClasses: jobs with GPUs and jobs without are arrays of their own, each as large as its
// largest action; what needs one CPU and nothing else has no array beside one with GPUs. What
// the site sets itself is left alone.
func TestClasses(t *testing.T) {
	const gib = 1 << 30
	s, f := newFake(t, map[string][]any{"sbatch": {"7\n", "8\n", "9\n"}})
	arrays := func(site string, needs ...resource.Need) (list []string) {
		t.Helper()
		s.Needs = func() ([]resource.Need, error) { return needs, nil }
		s.Site = ""
		if site != "" {
			s.Site = filepath.Join(t.TempDir(), SiteFile)
			if err := os.WriteFile(s.Site, []byte(site), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		f.scripts = nil
		if err := s.Start(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		for _, script := range f.scripts {
			var words []string
			for line := range strings.Lines(script) {
				option, ok := strings.CutPrefix(strings.TrimSpace(line), "#SBATCH --")
				for _, name := range []string{"array", "cpus-per-task", "gres", "gpus", "mem", "time"} {
					if ok && strings.HasPrefix(option, name+"=") {
						words = append(words, option)
					}
				}
			}
			list = append(list, strings.Join(words, " "))
		}
		return list
	}
	small, gpu := resource.Need{CPUs: 1}, resource.Need{CPUs: 1, GPUs: 1}
	train := resource.Need{CPUs: 4, GPUs: 1, GPUMemory: 20 * gib, Memory: 8*gib + 1, Time: 90*time.Minute + time.Second}
	large := resource.Need{CPUs: 16, Memory: gib}
	for _, c := range []struct {
		site  string
		needs []resource.Need
		want  []string
	}{
		{"", nil, []string{"array=0-1"}},
		{"", []resource.Need{small}, []string{"array=0-1"}},
		{"", []resource.Need{small, gpu}, []string{"array=0-1 gres=gpu:1"}},
		{"", []resource.Need{small, gpu, train}, []string{"array=0-1 cpus-per-task=4 gres=gpu:1 mem=8193M time=91"}},
		{"", []resource.Need{large, gpu, small}, []string{"array=0-1 gres=gpu:1", "array=0-1 cpus-per-task=16 mem=1024M"}},
		{"#SBATCH --gpus=1\n#SBATCH -c 8\n", []resource.Need{large, train}, []string{"array=0-1 gpus=1 mem=8193M time=91"}},
		{"#SBATCH --mem-per-cpu=1G\n#SBATCH -t 10\n", []resource.Need{train}, []string{"array=0-1 cpus-per-task=4 gres=gpu:1"}},
	} {
		if d := cmp.Diff(c.want, arrays(c.site, c.needs...)); d != "" {
			t.Errorf("%q %v (-want +got):\n%s", c.site, c.needs, d)
		}
	}
	if len(s.jobs.Jobs) != 1 {
		t.Errorf("jobs %q", s.jobs.Jobs)
	}
}

// TestRecord: while nobody knows which jobs run, none is submitted.
func TestRecord(t *testing.T) {
	s, f := newFake(t, nil)
	if err := os.WriteFile(s.file(), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), s, Options{Workers: 1, Poll: time.Millisecond,
		Look: func() (Progress, error) { return Progress{Left: 1}, nil }, Report: func(Progress) {}, Log: func(string) {}})
	if err == nil || !strings.Contains(err.Error(), "slurm.json, which has the numbers of the study's jobs: ") || !strings.Contains(err.Error(), "delete it if") {
		t.Errorf("%v", err)
	}
	if len(f.scripts) > 0 {
		t.Errorf("submitted %q", f.scripts)
	}
}
