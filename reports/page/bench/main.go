// Command bench measures how fast the report of a large study opens. It writes a report
// of 200 trials and 20,000 images of nearly 10 KB and opens it from disk in headless
// Chromium. It prints the time until the page is loaded, and the private memory of the
// tab's renderer beyond that of about:blank, before scrolling. Required: at most 2 s and
// 150 MB.
//
//	bash .ci/bench report
//
// Measured on two cores (EPYC, virtual), medians of five, 20,000 images of 9.5 KB: 0.67 s
// (at most 0.74) and 35 MB (at most 36).
package main

import (
	"bufio"
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/page"
	"ablate/reports/page/browsertest"
)

const rows, seeds, prompts = 100, 2, 100

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	begin := time.Now()
	index, err := page.Write(dir, report())
	if err != nil {
		return err
	}
	fmt.Printf("written in %.1f s\n", time.Since(begin).Seconds())
	images, err := filepath.Glob(filepath.Join(dir, "images", "*", "*.png"))
	if err != nil {
		return err
	}
	var bytes int64
	for _, name := range images {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		bytes += info.Size()
	}
	fmt.Printf("%d images of %.1f KB on average\n", len(images), float64(bytes)/float64(len(images))/1e3)
	html, err := os.ReadFile(index)
	if err != nil {
		return err
	}
	probe := `<script>addEventListener("load", () => setTimeout(() => {
	const t = performance.getEntriesByType("navigation")[0];
	document.documentElement.dataset.result = t.loadEventEnd;
}))</script></body>`
	probed := filepath.Join(dir, "probe.html")
	if err := os.WriteFile(probed, []byte(strings.Replace(string(html), "</body>", probe, 1)), 0o666); err != nil {
		return err
	}
	var loads, more []float64
	for range 5 {
		ms, err := load(probed)
		if err != nil {
			return err
		}
		blank, err := memory("about:blank")
		if err != nil {
			return err
		}
		full, err := memory("file://" + index)
		if err != nil {
			return err
		}
		loads, more = append(loads, ms/1e3), append(more, full-blank)
	}
	slices.Sort(loads)
	slices.Sort(more)
	fmt.Printf("opens in %.2f s, and the renderer takes %.0f MB of private memory more than about:blank (medians of 5; at most %.2f s and %.0f MB)\n", loads[2], more[2], loads[4], more[4])
	return nil
}

// chromium returns a browser with an address to open, and the folder of its profile.
func chromium(url string, flags ...string) (*exec.Cmd, string, error) {
	profile, err := os.MkdirTemp("", "bench-profile-")
	if err != nil {
		return nil, "", err
	}
	cmd, err := browsertest.Command(url, profile, append([]string{"--disable-extensions", "--window-size=1280,900"}, flags...)...)
	return cmd, profile, err
}

var result = regexp.MustCompile(`data-result="([^"]*)"`)

// load returns the time until the load event has ended, in milliseconds.
func load(path string) (float64, error) {
	cmd, profile, err := chromium("file://"+path, "--dump-dom", "--timeout=20000")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(profile)
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	m := result.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("the page did not load")
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// memory returns the private memory of the renderers when the page has settled, in MB.
func memory(url string) (float64, error) {
	cmd, profile, err := chromium(url, "--remote-debugging-port=0")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(profile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	time.Sleep(5 * time.Second)
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	var kb float64
	found := false
	for _, name := range processes {
		line, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(line), "--type=renderer") || !strings.Contains(string(line), profile) {
			continue // the process has ended, or belongs to another user
		}
		f, err := os.Open(filepath.Join(filepath.Dir(name), "smaps_rollup"))
		if err != nil {
			return 0, err
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			var v float64
			if strings.HasPrefix(s.Text(), "Private_") {
				if _, err := fmt.Sscan(strings.Fields(s.Text())[1], &v); err == nil {
					kb, found = kb+v, true
				}
			}
		}
		if err := f.Close(); err != nil {
			return 0, err
		}
	}
	if !found {
		return 0, fmt.Errorf("no renderer of %s was found", url)
	}
	return kb / 1e3, nil
}

// report returns a large report.
func report() page.Report {
	r := rand.New(rand.NewPCG(1, 2))
	t := &compare.Table{Reference: "arm 0"}
	for _, m := range compare.Shown {
		m.Better = "higher"
		t.Metrics = append(t.Metrics, m)
	}
	samples := &table.Table{}
	column := func(name string, kind table.Kind) *table.Column {
		c := &table.Column{Name: name, Kind: kind}
		samples.Columns = append(samples.Columns, c)
		return c
	}
	trial, set, prompt, category, verdict, read := column("trial", table.String), column("set", table.String), column("prompt", table.String), column("category", table.String), column("verdict", table.String), column("read", table.String)
	index, seen := column("index", table.Int), column("seen", table.Bool)
	out := page.Report{Name: "large", Title: "A large study", Question: "How long does it take?", Seeds: []string{"1", "2"}, Table: t, Samples: samples,
		Curves: &table.Table{Columns: []*table.Column{{Name: "trial"}, {Name: "stage"}, {Name: "metric"}, {Name: "step", Kind: table.Int}, {Name: "value", Kind: table.Float}}}}
	for i := range rows {
		row := compare.Row{Arm: fmt.Sprint("arm ", i), Label: fmt.Sprint("arm ", i), Cells: map[string]compare.Cell{}, Differences: map[string]compare.Difference{}}
		p := page.Parameters{Label: row.Label}
		for k := range 60 {
			p.Lines = append(p.Lines, fmt.Sprintf("a.parameter.number%d %d", k, i))
		}
		for s := range seeds {
			id := fmt.Sprintf("%x", [2]uint64{r.Uint64() | 1<<63, uint64(i*seeds + s)})
			id = strings.NewReplacer("[", "", "]", "", " ", "").Replace(id)
			row.Seeds, row.Trials = append(row.Seeds, fmt.Sprint(s+1)), append(row.Trials, id)
			p.Trials = append(p.Trials, page.Trial{View: fmt.Sprintf("%s@%d", row.Label, s+1), ID: id})
			for k := range prompts {
				trial.Strings, set.Strings = append(trial.Strings, id), append(set.Strings, "alignment")
				prompt.Strings, index.Ints = append(prompt.Strings, fmt.Sprintf("%d red circles beside a blue square, %d", k, s)), append(index.Ints, int64(k))
				category.Strings, seen.Bools = append(category.Strings, []string{"combination", "count", "combination", "colour", "combination", "background"}[k%6]), append(seen.Bools, k%4 > 0)
				verdict.Strings, read.Strings = append(verdict.Strings, []string{"good", "bad"}[r.IntN(2)]), append(read.Strings, fmt.Sprintf("%d red circles", k%9))
			}
		}
		for _, m := range t.Metrics {
			v := r.Float64()
			c := compare.Cell{Mean: v, Low: v - .05, High: v + .05, Interval: compare.OverPrompts, Seeds: row.Seeds, Values: []float64{v - .01, v + .01}, N: 2}
			row.Cells[m.Name] = c
			row.Differences[m.Name] = compare.Difference{Cell: c}
		}
		t.Rows, out.Parameters = append(t.Rows, row), append(out.Parameters, p)
	}
	img := image.NewNRGBA(image.Rect(0, 0, 56, 56)) // noise, which does not compress: 9.5 KB
	out.Exchanges = exchanges(r)
	out.Image = func(string, string, int) (image.Image, error) {
		for i := range img.Pix {
			img.Pix[i] = uint8(r.Uint32())
			if i%4 == 3 {
				img.Pix[i] = 255
			}
		}
		return img, nil
	}
	return out
}

// exchanges returns random numbers of what every row but the first wins and loses on each
// prompt.
func exchanges(r *rand.Rand) *compare.Exchanges {
	out := &compare.Exchanges{Reference: "arm 0"}
	for k := range prompts {
		out.Prompts = append(out.Prompts, compare.Prompt{Text: fmt.Sprintf("%d red circles beside a blue square, 0", k), Category: []string{"count", "colour"}[k%2], Seen: true})
	}
	for i := 1; i < rows; i++ {
		e := compare.Exchange{Row: i}
		for range prompts {
			e.Counts = append(e.Counts, compare.Count{Pairs: 20, Won: r.IntN(10), Lost: r.IntN(10), Better: r.IntN(2), Worse: r.IntN(2)})
		}
		out.Rows = append(out.Rows, e)
	}
	return out
}
