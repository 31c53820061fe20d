package people

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ablate/analysis/raters"
)

// collected makes a comparison of some prompts by some raters, and opens it.
func collected(t testing.TB, prompts int, size Size) (*Collection, string) {
	t.Helper()
	var tasks []Task
	for i := range prompts {
		x := Task{Prompt: fmt.Sprintf("prompt %d", i), Tag: []string{"count", "colour"}[i%2], Seen: i%3 > 0}
		for k := range 2 {
			x.Images = append(x.Images, Image{[2]string{"aa", "bb"}, 2*i + k})
		}
		tasks = append(tasks, x)
	}
	if size.Grid == 0 {
		size.Grid = 4
	}
	d, err := NewDesign([2]string{"all data", "pretrained"}, tasks, size)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "comparison")
	if err := Create(dir, d); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, dir
}

// TestDesign: each prompt has as many raters as are asked for, no rater twice; raters have equal numbers of tasks in orders of
// their own; a side is on the left about half the time; and a seed gives the same again.
func TestDesign(t *testing.T) {
	c, _ := collected(t, 200, Size{Prompts: 90, Raters: 7, Each: 3, Seed: 5})
	by := map[int]int{}
	left, n := 0, 0
	for _, r := range c.Raters {
		if len(r.Tasks) < 90*3/7 || len(r.Tasks) > 90*3/7+1 {
			t.Errorf("%s has %d tasks", r.Name, len(r.Tasks))
		}
		if slices.IsSorted(r.Tasks) {
			t.Errorf("%s has tasks in their order", r.Name)
		}
		seen := map[int]bool{}
		for _, task := range r.Tasks {
			if seen[task] {
				t.Errorf("%s has task %d twice", r.Name, task)
			}
			seen[task] = true
			by[task]++
			left, n = left+c.left(r.Name, task), n+1
		}
	}
	for task := range 90 {
		if by[task] != 3 {
			t.Errorf("task %d has %d raters", task, by[task])
		}
	}
	if left < n/3 || left > 2*n/3 {
		t.Errorf("the second side is on the left %d of %d times", left, n)
	}
	again, _ := collected(t, 200, Size{Prompts: 90, Raters: 7, Each: 3, Seed: 5})
	other, _ := collected(t, 200, Size{Prompts: 90, Raters: 7, Each: 3, Seed: 6})
	if !slices.Equal(again.Raters[2].Tasks, c.Raters[2].Tasks) || slices.Equal(other.Raters[2].Tasks, c.Raters[2].Tasks) {
		t.Error("orders do not follow the seed")
	}
	if c.Raters[0].Token == again.Raters[0].Token || len(c.Raters[0].Token) < 32 {
		t.Errorf("tokens %s and %s", c.Raters[0].Token, again.Raters[0].Token)
	}
}

// TestJournal: what was confirmed is there after the process is gone; a line that was cut off is not; an answer that comes
// again counts once; what is taken back does not count; a second process cannot write.
func TestJournal(t *testing.T) {
	c, dir := collected(t, 6, Size{Raters: 1})
	rater := c.Raters[0]
	for i, task := range rater.Tasks {
		r := record{ID: fmt.Sprint("answer ", i), Rater: rater.Name, Task: task, Answer: &Answer{Left, Tie}, Seconds: 2}
		if err := errors.Join(c.j.add(r), c.j.add(r)); err != nil {
			t.Fatal(err)
		}
	}
	if last, ok := c.j.last(rater.Name); !ok || last != rater.Tasks[5] {
		t.Errorf("the last answer is to task %d, want %d", last, rater.Tasks[5])
	}
	if err := c.j.add(record{ID: "undo", Rater: rater.Name, Task: rater.Tasks[5]}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, true); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("two processes write: %v", err)
	}
	reader, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if done, of := reader.Done(); done != 5 || of != 6 {
		t.Errorf("%d of %d answers", done, of)
	}
	_ = reader.Close()
	_ = c.Close()
	name := filepath.Join(dir, answersFile)
	text, err := os.ReadFile(name)
	if err != nil || strings.Count(string(text), "\n") != 7 {
		t.Fatalf("%d lines, %v", strings.Count(string(text), "\n"), err)
	}
	if err := os.WriteFile(name, append(text, `{"id":"half","rater":"rater 1","ta`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = Open(dir, true); err != nil {
		t.Fatal(err)
	}
	if err := c.j.add(record{ID: "after", Rater: rater.Name, Task: rater.Tasks[5], Answer: &Answer{Right, Right}}); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if c, err = Open(dir, true); err != nil {
		t.Fatal(err)
	}
	if done, of := c.Done(); done != 6 || of != 6 {
		t.Errorf("%d of %d answers", done, of)
	}
	_ = c.Close()
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), `"left"`, `"top"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, true); err == nil || !strings.Contains(err.Error(), `answers.jsonl:1: alignment is "top"`) {
		t.Errorf("a wrong answer: %v", err)
	}
}

// TestDiskFull: an answer that cannot be written is an error, and the answers before it stay.
func TestDiskFull(t *testing.T) {
	c, _ := collected(t, 3, Size{Raters: 1})
	rater := c.Raters[0]
	if err := c.j.add(record{ID: "one", Rater: rater.Name, Task: rater.Tasks[0], Answer: &Answer{Left, Left}}); err != nil {
		t.Fatal(err)
	}
	whole := c.j.f
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	c.j.f = full
	if err := c.j.add(record{ID: "two", Rater: rater.Name, Task: rater.Tasks[1], Answer: &Answer{Left, Left}}); err == nil {
		t.Error("a full disk is no error")
	}
	_ = full.Close()
	c.j.f = whole
	if done, _ := c.Done(); done != 1 {
		t.Errorf("%d answers", done)
	}
}

// TestVotes: an answer is a vote for the side that the rater saw there.
func TestVotes(t *testing.T) {
	c, _ := collected(t, 40, Size{Raters: 2})
	for _, r := range c.Raters {
		for i, task := range r.Tasks {
			side := Left // the first side has better alignment, and the second one better fidelity
			if c.left(r.Name, task) == 1 {
				side = Right
			}
			a := Answer{side, map[string]string{Left: Right, Right: Left}[side]}
			if i%4 == 0 {
				a.Fidelity = Tie
			}
			if err := c.j.add(record{ID: fmt.Sprint(r.Name, i), Rater: r.Name, Task: task, Answer: &a}); err != nil {
				t.Fatal(err)
			}
		}
	}
	o := c.Outcome()
	find := func(question, group string) Result {
		for _, r := range o.Results {
			if r.Question == question && r.Group == group {
				return r
			}
		}
		t.Fatalf("no result of %s, %s", question, group)
		return Result{}
	}
	if r := find(Alignment, "all"); r.Wins != 80 || r.Share != 1 || r.Prompts != 40 || r.Raters != 2 || r.Low < .9 {
		t.Errorf("%+v", r)
	}
	if r := find(Fidelity, "all"); r.Losses != 60 || r.Ties != 20 || r.Share != .125 {
		t.Errorf("%+v", r)
	}
	if a, b := find(Alignment, "seen"), find(Alignment, "unseen"); a.Wins+b.Wins != 80 || a.Wins == 0 || b.Wins == 0 {
		t.Errorf("%+v %+v", a, b)
	}
	if a, b := find(Alignment, "count"), find(Alignment, "colour"); a.Wins != 40 || b.Wins != 40 {
		t.Errorf("%+v %+v", a, b)
	}
	// The interval is that of the votes.
	if p, r := raters.Prefer(c.Votes(nil)[Fidelity], .95), find(Fidelity, "all"); p.Share.Low != r.Low || p.Share.High != r.High {
		t.Errorf("%+v %+v", p, r)
	}
}

// served serves a comparison.
func served(t testing.TB, c *Collection) *httptest.Server {
	t.Helper()
	s := NewServer(c, func(trial string, index int) (image.Image, error) {
		if trial != "aa" && trial != "bb" {
			return nil, errors.New("no such trial")
		}
		img := image.NewRGBA(image.Rect(0, 0, 8, 8))
		img.Pix[0], img.Pix[1], img.Pix[3] = uint8(index), trial[0], 255
		return img, nil
	})
	server := httptest.NewServer(s)
	s.hosts = hostsOf(server.Listener.Addr())
	t.Cleanup(server.Close)
	return server
}

// asks sends a request and returns the status and the body.
func asks(t testing.TB, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%s: policy %q", url, policy)
	}
	return resp.StatusCode, string(data)
}

// TestHostile: requests that no page makes change nothing and show nothing.
func TestHostile(t *testing.T) {
	c, dir := collected(t, 4, Size{Raters: 2, Each: 1})
	server := served(t, c)
	mine := server.URL + "/r/" + c.Raters[0].Token + "/"
	task, others := c.Raters[0].Tasks[0], c.Raters[1].Tasks[0]
	good := fmt.Sprintf(`{"id": "12345678", "task": %d, "seconds": 1, "alignment": "left", "fidelity": "tie"}`, task)
	for name, x := range map[string]struct {
		method, url, body string
		header            []string
		want              int
	}{
		"no token":             {"GET", server.URL + "/", "", nil, 404},
		"another token":        {"GET", server.URL + "/r/" + strings.Repeat("a", 32) + "/state", "", nil, 404},
		"an empty token":       {"GET", server.URL + "/r//state", "", nil, 404},
		"another's task":       {"POST", mine + "answer", strings.Replace(good, fmt.Sprintf(`"task": %d`, task), fmt.Sprintf(`"task": %d`, others), 1), nil, 400},
		"another's picture":    {"GET", mine + fmt.Sprintf("image/%d/0/0.png", others), "", nil, 404},
		"a picture elsewhere":  {"GET", mine + "image/../../design.json", "", nil, 404},
		"encoded dots":         {"GET", mine + "image/%2e%2e/%2e%2e/design.json", "", nil, 404},
		"a file of the folder": {"GET", mine + "../../" + filepath.Base(dir) + "/design.json", "", nil, 404},
		"a page's folder":      {"GET", mine + "../page.js", "", nil, 404},
		"a third side":         {"GET", mine + fmt.Sprintf("image/%d/2/0.png", task), "", nil, 404},
		"a place too far":      {"GET", mine + fmt.Sprintf("image/%d/0/2.png", task), "", nil, 404},
		"a number below 0":     {"GET", mine + fmt.Sprintf("image/%d/0/-1.png", task), "", nil, 404},
		"another site":         {"POST", mine + "answer", good, []string{"Origin", "http://evil.example"}, 403},
		"another site's fetch": {"POST", mine + "answer", good, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a form":               {"POST", mine + "answer", "id=12345678&task=0", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"plain text":           {"POST", mine + "answer", good, []string{"Content-Type", "text/plain"}, 415},
		"another name":         {"GET", mine + "state", "", []string{"Host", "evil.example"}, 421},
		"a large answer":       {"POST", mine + "answer", `{"id": "` + strings.Repeat("x", 5000) + `"}`, nil, 400},
		"no JSON":              {"POST", mine + "answer", "left", nil, 400},
		"a field more":         {"POST", mine + "answer", strings.Replace(good, "{", `{"rater": "rater 2", `, 1), nil, 400},
		"another word":         {"POST", mine + "answer", strings.Replace(good, "left", "both", 1), nil, 400},
		"no id":                {"POST", mine + "answer", strings.Replace(good, "12345678", "", 1), nil, 400},
		"no time":              {"POST", mine + "answer", strings.Replace(good, `"seconds": 1`, `"seconds": -1`, 1), nil, 400},
		"another method":       {"DELETE", mine + "answer", "", nil, 405},
		"an upload":            {"PUT", mine + "page.js", "alert(1)", nil, 405},
	} {
		if status, body := asks(t, x.method, x.url, x.body, x.header...); status != x.want {
			t.Errorf("%s: %d %s, want %d", name, status, body, x.want)
		}
	}
	if done, _ := c.Done(); done != 0 {
		t.Errorf("%d answers", done)
	}
	if status, body := asks(t, "POST", mine+"answer", good, "Origin", server.URL, "Sec-Fetch-Site", "same-origin"); status != 200 || !strings.Contains(body, `"done":1`) {
		t.Errorf("the page's own answer: %d %s", status, body)
	}
	_, state := asks(t, "GET", mine+"state", "")
	for _, secret := range append(c.Sides[:], "aa", "bb", c.Raters[0].Token) {
		if strings.Contains(state, `"`+secret+`"`) || strings.Contains(state, "/"+secret) {
			t.Errorf("the page is told %q: %s", secret, state)
		}
	}
	limited := 0
	for range 2 * burst {
		if status, _ := asks(t, "GET", mine+"state", ""); status == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited == 0 {
		t.Error("requests are not limited")
	}
	if info, err := os.Stat(filepath.Join(dir, designFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the links is %v, %v", info.Mode(), err)
	}
}

// TestTabs: the same answer from several tabs and connections at once counts once, and none is lost.
func TestTabs(t *testing.T) {
	c, dir := collected(t, 30, Size{Raters: 3})
	server := served(t, c)
	var wait sync.WaitGroup
	for _, r := range c.Raters {
		for _, task := range r.Tasks {
			for range 2 {
				wait.Add(1)
				go func() {
					defer wait.Done()
					body := fmt.Sprintf(`{"id": "%s-%08d", "task": %d, "seconds": 1, "alignment": "left", "fidelity": "right"}`, r.Token[:4], task, task)
					if status, text := asks(t, "POST", server.URL+"/r/"+r.Token+"/answer", body); status != 200 {
						t.Errorf("%d %s", status, text)
					}
				}()
			}
		}
	}
	wait.Wait()
	_ = c.Close()
	again, err := Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if done, of := again.Done(); done != 90 || of != 90 {
		t.Errorf("%d of %d answers", done, of)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, answersFile)); strings.Count(string(text), "\n") != 90 {
		t.Errorf("%d lines", strings.Count(string(text), "\n"))
	}
}

// TestPictures: the two sides of a task are the two trials, as the orders say.
func TestPictures(t *testing.T) {
	c, _ := collected(t, 20, Size{Raters: 1})
	server := served(t, c)
	r := c.Raters[0]
	for _, task := range r.Tasks {
		var bytes [2]string
		for side := range 2 {
			status, body := asks(t, "GET", fmt.Sprintf("%s/r/%s/image/%d/%d/1.png", server.URL, r.Token, task, side), "")
			if status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			bytes[side] = body
		}
		want := [2]string{drawn(t, "aa", c.Tasks[task].Images[1].Index), drawn(t, "bb", c.Tasks[task].Images[1].Index)}
		if c.left(r.Name, task) == 1 {
			want[0], want[1] = want[1], want[0]
		}
		if bytes != want {
			t.Errorf("task %d: other pictures", task)
		}
	}
}

func drawn(t *testing.T, trial string, index int) string {
	s := NewServer(nil, func(trial string, index int) (image.Image, error) {
		img := image.NewRGBA(image.Rect(0, 0, 8, 8))
		img.Pix[0], img.Pix[1], img.Pix[3] = uint8(index), trial[0], 255
		return img, nil
	})
	data, err := s.png(trial, index)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// FuzzJournal: no file of answers is a crash, and what is read again counts the same.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"id":"a","rater":"rater 1","task":0,"answer":{"alignment":"left","fidelity":"tie"},"seconds":1,"time":"2026-01-01T00:00:00Z"}` + "\n"))
	f.Add([]byte(`{"id":"a","rater":"rater 1","task":0,"answer":null}` + "\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, answersFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(dir, true)
		if err != nil {
			return
		}
		n := len(j.of)
		_ = j.close()
		if j, err = openJournal(dir, false); err != nil || len(j.of) != n {
			t.Errorf("%d answers, then %d, %v", n, len(j.of), err)
		}
		_ = j.close()
	})
}

// TestOpen: there is no comparison, or it is damaged.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, false); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, text := range []string{"", "null", "[]", `{"raters": [{"tasks": [3]}]}`} {
		if err := os.WriteFile(filepath.Join(dir, designFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, false); err == nil || !strings.Contains(err.Error(), designFile) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
