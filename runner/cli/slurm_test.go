package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ablate/models/modeltest"
)

// A slurmCluster is a real Slurm with two nodes on this machine.
type slurmCluster struct {
	t   *testing.T
	dir string
	env []string
}

// newCluster starts a cluster, which ends with the test.
func newCluster(t *testing.T) *slurmCluster {
	t.Helper()
	for _, name := range []string{"slurmctld", "slurmd", "sbatch", "munged"} {
		if _, err := exec.LookPath(name); err != nil || os.Geteuid() != 0 {
			if os.Getenv("ABLATE_TEST_STRICT") == "1" && os.Geteuid() == 0 {
				t.Fatalf("%s is missing: %v", name, err)
			}
			t.Skip("needs root and Debian's packages slurmctld, slurmd, slurm-client and munge")
		}
	}
	dir, err := os.MkdirTemp("", "ablate-slurm-") // not t.TempDir, in which user munge reaches nothing
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &slurmCluster{t: t, dir: dir, env: append(os.Environ(), "SLURM_CONF="+filepath.Join(dir, "slurm.conf"))}
	script, err := filepath.Abs("testdata/slurm.sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.try("bash", script, "stop", dir)
		time.Sleep(time.Second)
		os.RemoveAll(dir)
	})
	c.do("bash", script, "start", dir, "2")
	return c
}

// do runs a command and returns what it prints.
func (c *slurmCluster) do(name string, args ...string) string {
	c.t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		c.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

func (c *slurmCluster) try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// until waits until a condition holds.
func (c *slurmCluster) until(what string, limit time.Duration, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%v passed without: %s\n%s", limit, what, c.do("squeue", "--states=all"))
		}
	}
}

// preempt takes both nodes from the jobs of other partitions for some seconds.
func (c *slurmCluster) preempt() {
	c.t.Helper()
	c.do("sbatch", "--partition=high", "--nodes=2", "--ntasks=2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 3")
}

// TestSlurm: a study on Slurm gives the artifacts and the table of a local run, though its
// jobs are preempted in the middle of a training, the run that submitted them is interrupted
// and attaches again, the controller restarts, and a node's daemon is killed.
func TestSlurm(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	c := newCluster(t)
	bin := place(t, c.dir)
	env := append(c.env, "ABLATE_PJRT_PLUGIN="+modeltest.Plugin(t))
	command := func(store string, args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(bin, append([]string{"run", "mini", "--store", filepath.Join(c.dir, store), "--backend", "xla:cpu", "--set", "model.shapes.steps=6000", "-j", "1"}, args...)...)
		cmd.Dir, cmd.Env = c.dir, env
		log := &bytes.Buffer{}
		cmd.Stderr = log
		return cmd, log
	}
	slurm := []string{"--launcher", "slurm", "--workers", "2", "--save-every", "1s"}
	table := func(cmd *exec.Cmd, log *bytes.Buffer) string {
		t.Helper()
		out, err := cmd.Output()
		s, _, ok := strings.Cut(string(out), "\nreport: ")
		if err != nil || !ok {
			t.Fatalf("%v\n%s\n%s\n%s", err, log, out, c.do("squeue", "--states=all"))
		}
		return s
	}
	want := table(command("alone"))
	artifacts := outputs(t, filepath.Join(c.dir, "alone"))
	saved := func(store string) func() bool {
		return func() bool {
			states, _ := filepath.Glob(filepath.Join(c.dir, store, "partial", "*", "*", "state"))
			return len(states) > 0
		}
	}
	check := func(store, got string) {
		t.Helper()
		if got != want {
			t.Errorf("table:\n%s\nof a local run:\n%s", got, want)
		}
		if d := cmp.Diff(artifacts, outputs(t, filepath.Join(c.dir, store))); d != "" {
			t.Errorf("artifacts (-want +got):\n%s", d)
		}
	}
	logs := func(store string) string {
		files, _ := filepath.Glob(filepath.Join(c.dir, store, "studies", "*", "logs", "slurm-*.out"))
		var all []byte
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		return string(all)
	}

	t.Run("requeued", func(t *testing.T) {
		c := &slurmCluster{t, c.dir, c.env}
		cmd, log := command("low", slurm...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c.until("a saved state", time.Minute, saved("low"))
		c.preempt()
		requeued := func() bool {
			return strings.Count(c.do("squeue", "--noheader", "--partition=low", "--states=PENDING", "--array"), "\n") == 2
		}
		c.until("both workers requeued", time.Minute, requeued)
		// The run is interrupted, and its jobs stay.
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(log.String(), "'scancel ") || !requeued() {
			t.Errorf("interrupted: exit code %d\n%s", code, log)
		}
		jobs := c.do("squeue", "--noheader", "--partition=low", "--format=%A")
		// The controller restarts, and one daemon is killed and comes back.
		c.do("scontrol", "shutdown", "slurmctld")
		time.Sleep(time.Second)
		c.do("slurmctld")
		pid, err := os.ReadFile(filepath.Join(c.dir, "slurmd.node1.pid"))
		if err != nil {
			t.Fatal(err)
		}
		c.do("kill", "-9", strings.TrimSpace(string(pid)))
		c.do("slurmd", "-N", "node1")
		c.until("both nodes", time.Minute, func() bool {
			out, err := c.try("sinfo", "--noheader", "--Node", "--states=idle")
			return err == nil && strings.Contains(out, "node0") && strings.Contains(out, "node1")
		})
		for _, id := range strings.Fields(jobs) { // Slurm would wait two minutes after a requeue
			_, _ = c.try("scontrol", "update", "JobId="+id, "StartTime=now")
		}
		again, log := command("low", slurm...)
		check("low", table(again, log))
		if strings.Contains(log.String(), "starting workers again") {
			t.Errorf("the second run has not attached to the jobs:\n%s", log)
		}
		if text := logs("low"); !strings.Contains(text, "goes on from its saved state") {
			t.Errorf("no training has resumed:\n%s", text)
		}
	})

	t.Run("cancelled", func(t *testing.T) {
		c := &slurmCluster{t, c.dir, c.env}
		// The options of the site stand beside the study.
		site := filepath.Join(c.dir, "mini", "slurm.sh")
		if err := os.WriteFile(site, []byte("#SBATCH --partition=spot\nexport FROM_THE_SITE=yes\necho site $FROM_THE_SITE\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		cmd, log := command("spot", slurm...)
		done := make(chan string)
		go func() {
			out, err := cmd.Output()
			s, _, _ := strings.Cut(string(out), "\nreport: ")
			if err != nil {
				s = err.Error()
			}
			done <- s
		}()
		c.until("a saved state", time.Minute, saved("spot"))
		c.preempt()
		got := ""
		c.until("the end of the run", 3*time.Minute, func() bool {
			for _, line := range strings.Split(c.do("squeue", "--noheader", "--partition=spot", "--states=PENDING", "--format=%A"), "\n") {
				if line != "" {
					_, _ = c.try("scontrol", "update", "JobId="+line, "StartTime=now")
				}
			}
			select {
			case got = <-done:
				return true
			default:
				return false
			}
		})
		check("spot", got)
		if text := logs("spot"); !strings.Contains(text, "site yes") || !strings.Contains(text, "goes on from its saved state") {
			t.Errorf("the jobs printed:\n%s\nthe run:\n%s", text, log)
		}
		bad := "#SBATCH --partition=spot\n#SBATCH --array=0-3\n"
		if err := os.WriteFile(site, []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		wrong, log := command("wrong", slurm...)
		if err := wrong.Run(); err == nil || !strings.Contains(log.String(), "slurm.sh:2: ablate sets --array itself") {
			t.Errorf("%v\n%s", err, log)
		}
	})
}

// TestSSH: workers that ssh starts on this machine compute a study. A command that fails is
// reported with what it printed.
func TestSSH(t *testing.T) {
	for _, name := range []string{"/usr/sbin/sshd", "ssh", "ssh-keygen"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("ABLATE_TEST_STRICT") == "1" && os.Geteuid() == 0 {
				t.Fatalf("%s is missing: %v", name, err)
			}
			t.Skip("needs sshd and ssh")
		}
	}
	dir := t.TempDir()
	bin := place(t, dir)
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	for _, key := range []string{"host", "user"} {
		run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
	}
	public, err := os.ReadFile(filepath.Join(dir, "user.pub"))
	if err != nil {
		t.Fatal(err)
	}
	config := "ListenAddress 127.0.0.1\nPort 28022\nHostKey " + filepath.Join(dir, "host") + "\nAuthorizedKeysFile " + filepath.Join(dir, "authorized") +
		"\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile " + filepath.Join(dir, "pid") + "\n"
	for name, text := range map[string]string{"authorized": string(public), "config": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.MkdirAll("/run/sshd", 0o755) // where Debian's sshd separates its privileges
	daemon := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "config"))
	var log bytes.Buffer
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { daemon.Process.Kill(); daemon.Wait() }()
	host := "ssh -p 28022 -i " + filepath.Join(dir, "user") + " -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR 127.0.0.1"
	command := func(template string) *exec.Cmd {
		cmd := exec.Command(bin, "run", "mini", "--backend", "xla:cpu", "--launcher", "command", "--workers", "2", "-j", "1", "--template", template)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "ABLATE_PJRT_PLUGIN="+modeltest.Plugin(t))
		return cmd
	}
	out, err := command(host + " 'echo no room; exit 3' # {worker}").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "workers ended 3 times without computing anything") || !strings.Contains(string(out), "exit status 3: no room") {
		t.Errorf("a command that fails: %v\n%s", err, out)
	}
	if out, err := command(host + " env ABLATE_PJRT_PLUGIN=" + modeltest.Plugin(t) + " {worker}").CombinedOutput(); err != nil || !strings.Contains(string(out), "\nreport: ") {
		t.Errorf("%v\n%s\nsshd:\n%s", err, out, &log)
	}
}
