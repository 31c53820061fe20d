package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// answers lets three people compare two rows of the miniature study on 10 prompts: they get links, see pictures, and
// say left and tie. Of each of them, only the given number of tasks is answered. Then the page is ended by Ctrl-C.
func answers(ts *testscript.TestScript, _ bool, args []string) {
	var most int
	_, err := fmt.Sscan(args[0], &most)
	ts.Check(err)
	cmd := exec.Command("ablate", "label", "mini", "--compare", args[1], args[2], "--prompts", "10")
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if bin := filepath.Join(dir, "ablate"); isExecutable(bin) {
			cmd.Path, cmd.Err = bin, nil
			break
		}
	}
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "ABLATE_PJRT_PLUGIN", "TMPDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	log, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	defer cmd.Process.Kill()
	var links []string
	lines := bufio.NewScanner(log)
	for link := regexp.MustCompile(`^  rater \d  (http://127\.0\.0\.1:\d+/r/[a-z2-7]{32}/)$`); lines.Scan(); {
		if m := link.FindStringSubmatch(lines.Text()); m != nil {
			links = append(links, m[1])
		}
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			break
		}
	}
	if len(links) != 3 {
		ts.Fatalf("%d links, want 3: %s", len(links), lines.Text())
	}
	type state struct {
		Done, Of int
		Task     *struct {
			Number int
			Prompt string
			Sides  [2][]string
		}
	}
	for _, link := range links {
		resp, err := http.Get(link + "state")
		for {
			ts.Check(err)
			var s state
			ts.Check(json.NewDecoder(resp.Body).Decode(&s))
			resp.Body.Close()
			if s.Of != 10 || (s.Task == nil) != (s.Done == 10) {
				ts.Fatalf("the page says %+v", s)
			}
			if s.Task == nil || s.Done == most {
				break
			}
			for _, picture := range append(s.Task.Sides[0], s.Task.Sides[1]...) {
				p, err := http.Get(link + picture)
				ts.Check(err)
				_, err = png.Decode(p.Body)
				ts.Check(err)
				p.Body.Close()
			}
			resp, err = http.Post(link+"answer", "application/json", strings.NewReader(
				fmt.Sprintf(`{"id": "answer-%d", "task": %d, "seconds": 1.5, "alignment": "left", "fidelity": "tie"}`, s.Task.Number, s.Task.Number)))
		}
	}
	ts.Check(cmd.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
	}
	ts.Check(cmd.Wait())
	if !strings.Contains(out.String(), fmt.Sprintf("%s against %s: %d of 30 answers of 3 raters on 10 prompts", args[1], args[2], 3*most)) {
		ts.Fatalf("the command says\n%s", out.String())
	}
}

func isExecutable(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}
