package checkup

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"ablate/experiments/language"
	"ablate/runner/device"
	"ablate/runner/internal/example"
	"ablate/runner/project"
)

// TestPick: what ABLATE_BACKEND names is picked if it works, and auto picks the GPU
// before the CPU.
func TestPick(t *testing.T) {
	for _, c := range []struct {
		name      string
		cuda, cpu bool
		ok        bool
		detail    string
	}{
		{device.Auto, true, true, true, "xla:cuda (auto)"}, {device.Auto, false, true, true, "xla:cpu (auto)"}, {device.Auto, false, false, false, "no XLA backend"},
		{device.CUDA, false, true, false, "xla:cuda (ABLATE_BACKEND) does not work"}, {device.CPU, true, true, true, "xla:cpu (ABLATE_BACKEND)"},
		{device.Go, false, false, true, "go (ABLATE_BACKEND)"},
	} {
		if f := pick(c.name, nil, c.cuda, c.cpu); f.OK != c.ok || !strings.HasPrefix(f.Detail, c.detail) {
			t.Errorf("%+v: %+v", c, f)
		}
	}
	if f := pick("", errors.New("a wrong name"), true, true); f.OK || f.Detail != "a wrong name" {
		t.Errorf("a wrong name: %+v", f)
	}
}

// TestProblem: a machine without a GPU has no problem, nor one whose CPU plugin is
// missing while its GPU works.
func TestProblem(t *testing.T) {
	good, bad := func(what string) Finding { return Finding{What: what, OK: true} }, func(what string) Finding { return Finding{What: what} }
	for _, c := range []struct {
		list []Finding
		want string
	}{
		{[]Finding{bad(device.CUDA), good(device.CPU), good("disk")}, ""}, {[]Finding{good(device.CUDA), bad(device.CPU)}, ""},
		{[]Finding{bad(device.CUDA), bad(device.CPU)}, device.CPU}, {[]Finding{good(device.CUDA), bad("disk")}, "disk"},
	} {
		if f, found := Problem(c.list); f.What != c.want || found != (c.want != "") {
			t.Errorf("%v: %v", c.list, f)
		}
	}
}

func TestDisk(t *testing.T) {
	if f := disk(filepath.Join(t.TempDir(), "not", "there")); f.What != "disk" || !strings.Contains(f.Detail, "GiB free at") {
		t.Errorf("a folder that is not there yet: %+v", f)
	}
	if f := room("here", 1<<29); f.OK || f.Do == "" || f.Detail != "0.5 GiB free at here" {
		t.Errorf("half a GiB: %+v", f)
	}
	if f := room("here", 1<<31); !f.OK || f.Do != "" {
		t.Errorf("two GiB: %+v", f)
	}
}

// TestEnough: the largest action must fit, and memory that is not known is no error.
func TestEnough(t *testing.T) {
	s := example.Study(t, "seeds: [1]\narms: plain: set: {}")
	p, err := project.Open(s, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.LayOut(t.Context(), s.Views); err != nil {
		t.Fatal(err)
	}
	if _, err := enough(p.Graph, 1000, "the GPU"); err == nil || !strings.Contains(err.Error(), "the GPU has 1.0 kB") {
		t.Errorf("a kilobyte: %v", err)
	}
	if f, err := enough(p.Graph, 1<<50, "the GPU"); err != nil || !f.OK {
		t.Errorf("a petabyte: %+v, %v", f, err)
	}
	if f, err := enough(p.Graph, 0, "the GPU"); err != nil || !strings.Contains(f.Detail, "could not be read") {
		t.Errorf("unknown: %+v, %v", f, err)
	}
}

// TestStudy: an adopted checkpoint that is missing is a mistake at its place in the
// study, and a study without mistakes has its runs, checkpoints and memory checked.
func TestStudy(t *testing.T) {
	check := func(body string) ([]Finding, error) {
		p, err := project.Open(example.Study(t, body), nil, "")
		if err != nil {
			t.Fatal(err)
		}
		return Study(t.Context(), p, device.CPU)
	}
	list, err := check("seeds: [1, 2]\narms: plain: set: {}")
	if err != nil || len(list) != 2 || list[0].Detail != "mine: 1 row × 2 seeds = 2 runs" || list[1].What != "memory" {
		t.Errorf("findings %+v, %v", list, err)
	}
	_, err = check("seeds: [1]\nbase: model: checkpoint: path: \"none\"\narms: plain: set: {}")
	var mistakes *language.Errors
	if !errors.As(err, &mistakes) || len(mistakes.List) != 1 || mistakes.List[0].Line == 0 {
		t.Errorf("a missing checkpoint: %v", err)
	}
}
