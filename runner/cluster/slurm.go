package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"ablate/runner/phrase"
	"ablate/runner/resource"
)

// Slurm is a launcher that submits workers as job arrays.
type Slurm struct {
	Name   string   // of the jobs
	Worker []string // program and arguments of a worker
	Site   string   // file with the #SBATCH lines and shell commands of the site; empty if there is none
	Dir    string   // folder for the record of the jobs and for their output

	// Needs, if not nil, returns what the actions that are left need.
	Needs func() ([]resource.Need, error)

	ask   func(ctx context.Context, stdin string, name string, args ...string) (string, error) // runs a command; tests replace it
	sleep func(ctx context.Context, d time.Duration)
	jobs  *record
}

// record is what is kept of the jobs of a study, so that a later run finds them.
type record struct {
	Jobs    []string `json:"jobs"`    // ids of the arrays
	Exclude []string `json:"exclude"` // nodes that failed
}

// SiteFile is the name of the file beside the study, or in a folder above it up to the
// module's, that has what sbatch needs on this cluster.
const SiteFile = "slurm.sh"

// ours are the options that this package sets.
var ours = []string{"array", "a", "signal", "requeue", "no-requeue", "output", "o", "error", "e", "job-name", "J", "open-mode", "parsable", "wrap", "exclude", "x"}

// option matches the name of the option of an #SBATCH line.
var option = regexp.MustCompile(`^#SBATCH\s+--?([A-Za-z][A-Za-z-]*)`)

// site reads the file of the site: its #SBATCH lines with the names of their options, and the
// commands after them.
func (s *Slurm) site() (options, commands string, names []string, err error) {
	if s.Site == "" {
		return "", "", nil, nil
	}
	data, err := os.ReadFile(s.Site)
	if err != nil {
		return "", "", nil, err
	}
	var b, c strings.Builder
	for i, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		switch m := option.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "#SBATCH") && m == nil:
			return "", "", nil, fmt.Errorf("%s:%d: %q has no option: write one such as #SBATCH --partition=gpu", s.Site, i+1, line)
		case m != nil && slices.Contains(ours, m[1]):
			return "", "", nil, fmt.Errorf("%s:%d: ablate sets --%s itself: remove the line", s.Site, i+1, m[1])
		case m != nil && c.Len() > 0:
			return "", "", nil, fmt.Errorf("%s:%d: sbatch ignores an #SBATCH line after the first command: move it up", s.Site, i+1)
		case m != nil:
			b.WriteString(line + "\n")
			names = append(names, m[1])
		case c.Len() > 0 || strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
			c.WriteString(line + "\n")
		}
	}
	return b.String(), c.String(), names, nil
}

// script returns the batch script of an array of n workers with the resources of a class.
//
// Slurm sends USR2 to the batch shell 90 seconds before the job's time ends, and some sites
// also before a preemption. The shell passes it to the worker, which saves the states of
// trainings and stops, and then puts this task of the array back into the queue.
func (s *Slurm) script(n int, class resource.Need) (string, error) {
	options, commands, names, err := s.site()
	if err != nil {
		return "", err
	}
	words := make([]string, len(s.Worker))
	for i, w := range s.Worker {
		words[i] = phrase.Shell(w)
	}
	exclude := ""
	if list := s.jobs.Exclude; len(list) > 0 {
		exclude = "#SBATCH --exclude=" + strings.Join(list, ",") + "\n"
	}
	return fmt.Sprintf(`#!/bin/bash
#SBATCH --job-name=%s
#SBATCH --array=0-%d
#SBATCH --signal=B:USR2@90
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%s
%s%s%s
stop() { asked=yes; kill -USR2 "$worker" 2>/dev/null; }
trap stop USR2 TERM
%s &
worker=$!
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; done # a signal ends wait, not the worker
wait "$worker"
code=$?
if [ -n "$asked" ] && [ "$code" -ne 0 ]; then
	scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
`, s.Name, n-1, filepath.Join(s.logs(), "slurm-%A_%a.out"), exclude, options+resources(class, names), commands, strings.Join(words, " ")), nil
}

func (s *Slurm) logs() string { return filepath.Join(s.Dir, "logs") }

// run runs a command of Slurm. If the controller does not answer, it tries again, with
// growing pauses that differ between processes.
func (s *Slurm) run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		out, err := s.ask(ctx, stdin, name, args...)
		if err == nil || ctx.Err() != nil || !transient.MatchString(err.Error()) || pause > 30*time.Second {
			return out, err
		}
		s.sleep(ctx, pause/2+rand.N(pause))
	}
}

// transient matches errors after which a command may succeed.
var transient = regexp.MustCompile(`(?i)socket timed out|unable to contact|connection refused|temporarily (unavailable|unable)|slurmctld.*(busy|backup)|communication|timed out|rate limit`)

// execute runs a command. The error has what it wrote to its standard error.
func execute(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is not installed here: run this where jobs of the cluster are submitted", name)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return out.String(), nil
}

// open reads the record of the jobs.
func (s *Slurm) open() error {
	if s.jobs != nil {
		return nil
	}
	if s.ask == nil {
		s.ask, s.sleep = execute, pause
	}
	var jobs record
	data, err := os.ReadFile(s.file())
	if err == nil {
		err = json.Unmarshal(data, &jobs)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &recordError{s.file(), err}
	}
	s.jobs = &jobs
	return nil
}

// recordError is the error of a record of jobs that cannot be read. Nobody knows then which jobs
// are running.
type recordError struct {
	file string
	err  error
}

func (e *recordError) Error() string {
	return fmt.Sprintf("%s, which has the numbers of the study's jobs: %v: delete it if no job of the study is left ('squeue --me')", e.file, e.err)
}

func (e *recordError) Unwrap() error { return e.err }

func (s *Slurm) file() string { return filepath.Join(s.Dir, "slurm.json") }

func (s *Slurm) save() error {
	data, err := json.Marshal(s.jobs)
	if err != nil {
		return err
	}
	return renameio.WriteFile(s.file(), append(data, '\n'), 0o666)
}

// Start submits arrays of n workers together for each class of needs. An array has at most
// MaxArraySize tasks.
func (s *Slurm) Start(ctx context.Context, n int) error {
	if n < 1 {
		return errNoWorkers
	}
	if err := s.open(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.logs(), 0o777); err != nil {
		return err
	}
	list, err := s.classes()
	if err != nil {
		return err
	}
	most := s.mostTasks(ctx)
	s.jobs.Jobs = nil // the earlier ones have ended
	for _, class := range list {
		if err := s.submit(ctx, n, most, class); err != nil {
			return err
		}
	}
	return nil
}

// classes returns the classes of what the actions that are left need. Those between which the
// site's own options leave no difference are one.
func (s *Slurm) classes() ([]resource.Need, error) {
	if s.Needs == nil {
		return classes(nil), nil
	}
	needs, err := s.Needs()
	if err != nil {
		return nil, err
	}
	_, _, names, err := s.site()
	if err != nil {
		return nil, err
	}
	for i := range needs {
		if requests[gpus].given(names) {
			needs[i].GPUs = 0
		}
	}
	return classes(needs), nil
}

// submit submits arrays of n workers of a class.
func (s *Slurm) submit(ctx context.Context, n, most int, class resource.Need) error {
	for n > 0 {
		k := min(n, most)
		script, err := s.script(k, class)
		if err != nil {
			return err
		}
		out, err := s.run(ctx, script, "sbatch", "--parsable")
		if err != nil {
			return err
		}
		id, _, _ := strings.Cut(strings.TrimSpace(out), ";") // ID or ID;CLUSTER
		if _, err := strconv.Atoi(id); err != nil {
			return fmt.Errorf("sbatch printed %q, and a job's number was expected", out)
		}
		s.jobs.Jobs = append(s.jobs.Jobs, id)
		if err := s.save(); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// mostTasks returns how many tasks an array may have.
func (s *Slurm) mostTasks(ctx context.Context) int {
	const usual = 1001
	out, err := s.run(ctx, "", "scontrol", "show", "config")
	if err != nil {
		return usual
	}
	m := regexp.MustCompile(`(?m)^MaxArraySize\s*=\s*(\d+)`).FindStringSubmatch(out)
	if m == nil {
		return usual
	}
	most, _ := strconv.Atoi(m[1])
	return max(1, most)
}

// A task is a task of an array as squeue prints it.
type task struct{ id, state, reason, nodes string }

// tasks asks for the states of all jobs of the study with one question.
func (s *Slurm) tasks(ctx context.Context) ([]task, error) {
	if len(s.jobs.Jobs) == 0 {
		return nil, nil
	}
	out, err := s.run(ctx, "", "squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r|%N", "--jobs="+strings.Join(s.jobs.Jobs, ","))
	if err != nil && strings.Contains(err.Error(), "Invalid job id") { // all of them have ended a while ago
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []task
	for line := range strings.Lines(out) {
		if f := strings.Split(strings.TrimSpace(line), "|"); len(f) == 4 {
			all = append(all, task{f[0], f[1], f[2], f[3]})
		}
	}
	return all, nil
}

// turn are the reasons for which a job waits that need nobody's help.
var turn = []string{"None", "Priority", "Resources", "BeginTime", "Cleaning"}

// ended are the states of jobs that do not run again. A job in a state that is not known is
// waited for.
var ended = []string{"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}

// Count counts the tasks of the study's jobs. It remembers nodes that failed.
func (s *Slurm) Count(ctx context.Context) (w Workers, err error) {
	if err := s.open(); err != nil {
		return w, err
	}
	all, err := s.tasks(ctx)
	if err != nil {
		return w, err
	}
	ends := map[string]int{}
	for _, t := range all {
		switch {
		case slices.Contains(ended, t.state):
			if t.state != "COMPLETED" {
				ends[strings.ToLower(t.state)]++
			}
			if t.state == "NODE_FAIL" && t.nodes != "" && !slices.Contains(s.jobs.Exclude, t.nodes) {
				s.jobs.Exclude = append(s.jobs.Exclude, t.nodes)
				err = s.save()
			}
		case t.state == "RUNNING" || t.state == "COMPLETING":
			w.Running++
		default:
			w.Waiting++
			if !slices.Contains(turn, t.reason) {
				w.Why = t.reason
			}
		}
	}
	var words []string
	for state, n := range ends {
		words = append(words, fmt.Sprintf("%d %s", n, state))
	}
	slices.Sort(words)
	if w.Ended = strings.Join(words, ", "); w.Ended != "" {
		w.Ended = "jobs " + strings.Join(s.jobs.Jobs, ", ") + " ended: " + w.Ended + "; their output is in " + s.logs()
	}
	return w, err
}

// Stop cancels the tasks that are left, which have nothing to do.
func (s *Slurm) Stop(ctx context.Context) error {
	if err := s.open(); err != nil || len(s.jobs.Jobs) == 0 {
		return err
	}
	_, err := s.run(ctx, "", "scancel", append([]string{"--quiet"}, s.jobs.Jobs...)...)
	if err == nil {
		s.jobs.Jobs = nil
		err = s.save()
	}
	return err
}

// Leave leaves the jobs in the queue.
func (s *Slurm) Leave(context.Context) string {
	jobs := strings.Join(s.jobs.Jobs, " ")
	return "the jobs " + jobs + " go on: the same command attaches to them again, 'ablate status --watch' shows them, and 'scancel " + jobs + "' ends them"
}

// pause sleeps until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
