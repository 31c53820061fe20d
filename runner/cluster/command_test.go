package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestLine: a worker's command line stands in a template as words, or as one quoted word that
// another shell splits into the same words.
func TestLine(t *testing.T) {
	worker := []string{"printf", "[%s]", "/a b/it's", "--x"}
	for template, want := range map[string]string{
		"{worker}":               "[/a b/it's][--x]",
		"sh -c {worker:q}":       "[/a b/it's][--x]",
		"echo {n} {n}; {worker}": "7 7\n[/a b/it's][--x]",
	} {
		if err := CheckTemplate(template); err != nil {
			t.Error(err)
		}
		out, err := exec.Command("sh", "-c", (&Command{Template: template, Worker: worker}).line(7)).CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%s prints %q, %v; want %q", template, out, err, want)
		}
	}
	if err := CheckTemplate("ssh host ablate"); err == nil || !strings.Contains(err.Error(), "has no {worker}") {
		t.Error(err)
	}
}

// TestDocumented: a shell can parse every template of the documentation.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	var templates []string
	for _, m := range regexp.MustCompile("(?m)^\\|[^|]*\\| `([^`]*)`").FindAllStringSubmatch(string(page), -1) {
		templates = append(templates, strings.ReplaceAll(m[1], `\|`, "|"))
	}
	for _, m := range regexp.MustCompile(`--template '([^']*)'`).FindAllStringSubmatch(string(page), -1) {
		templates = append(templates, m[1])
	}
	if len(templates) < 8 {
		t.Fatalf("templates %q", templates)
	}
	for _, template := range templates {
		if err := CheckTemplate(template); err != nil {
			t.Error(err)
		}
		line := (&Command{Template: template, Worker: []string{"/opt/ablate", "worker", "/a b/run.json"}}).line(0)
		if out, err := exec.Command("sh", "-n", "-c", line).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", line, err, out)
		}
	}
}

// settled waits until so many commands run, for two seconds at most, and returns the count.
func settled(t *testing.T, c *Command, running int) (w Workers) {
	t.Helper()
	for range 100 {
		if w, _ = c.Count(t.Context()); w.Running == running {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return w
}

// TestCommand: commands are counted while they run; the last one that failed is known by its
// last words; those that run at the end are asked to stop.
func TestCommand(t *testing.T) {
	c := &Command{Template: "case {n} in 0) exec sleep 60;; *) echo no licence; exit 4;; esac # {worker}", Logs: filepath.Join(t.TempDir(), "logs")}
	if err := c.Start(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	w := settled(t, c, 1)
	if w.Running != 1 || !strings.Contains(w.Ended, "exit status 4: no licence; its output is in "+filepath.Join(c.Logs, "worker-1.log")) {
		t.Errorf("%+v", w)
	}
	start := time.Now()
	if text := c.Leave(t.Context()); !strings.Contains(text, "attaches to them again") || time.Since(start) > 10*time.Second {
		t.Errorf("%s after %v", text, time.Since(start))
	}
	if w, _ := c.Count(t.Context()); w.Running != 0 {
		t.Errorf("%+v", w)
	}
	if err := c.Start(t.Context(), 0); err == nil {
		t.Error("no worker was started without an error")
	}
}

// TestDetached: one submission that fails does not hide those that have not.
func TestDetached(t *testing.T) {
	c := &Command{Template: "test {n} != 1 # {worker}", Detached: true, Logs: filepath.Join(t.TempDir(), "logs")}
	for _, first := range []int{0, 1} {
		c.Template = fmt.Sprintf("test $(({n}*%d)) != %d # {worker}", 1-first, 1-first)
		if err := c.Start(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		w := settled(t, c, 0)
		if first == 0 && (w.Waiting != 1 || w.Ended == "") || first == 1 && (w.Waiting != 0 || w.Ended == "") {
			t.Errorf("start %d: %+v", first, w)
		}
	}
}

// TestJob: the job's name is that of its scheduler.
func TestJob(t *testing.T) {
	for _, env := range []string{"SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "HQ_JOB_ID"} {
		t.Setenv(env, "")
	}
	if got := Job(); got != "" {
		t.Errorf("outside: %q", got)
	}
	t.Setenv("SLURM_JOB_ID", "15")
	alone := Job()
	t.Setenv("SLURM_ARRAY_JOB_ID", "12")
	t.Setenv("SLURM_ARRAY_TASK_ID", "3")
	if d := cmp.Diff([]string{"slurm 15", "slurm 12_3"}, []string{alone, Job()}); d != "" {
		t.Error(d)
	}
}
