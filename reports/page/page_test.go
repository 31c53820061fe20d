package page_test

import (
	"fmt"
	"image"
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/page"
)

const hostile = `<img src=x onerror="document.title='owned'">`

// report is a small report: three arms, one of which has a hostile name and one
// no result, two seeds.
func report() page.Report {
	cell := func(mean float64) compare.Cell {
		return compare.Cell{Mean: mean, Low: mean - .03, High: mean + .03, Interval: compare.OverPrompts, Seeds: []string{"1", "2"},
			Values: []float64{mean - .01, mean + .01}, N: 2, Images: 100, Notes: []int{0}}
	}
	points := func(mean float64) compare.Cell {
		c := cell(mean)
		c.Low, c.High, c.Interval = mean, mean, ""
		return c
	}
	row := func(label string, alignment, recall float64) compare.Row {
		id := map[bool]string{true: "base", false: "host"}[label == "base"]
		return compare.Row{Arm: label, Label: label, Trials: []string{id + "-1", id + "-2"}, Seeds: []string{"1", "2"}, Cells: map[string]compare.Cell{
			"alignment": cell(alignment), "alignment.count": cell(alignment - .1), "alignment.colour": cell(alignment + .1),
			"fidelity.recall": points(recall), "fidelity.recall.real": points(.98)},
			Differences: map[string]compare.Difference{"alignment": {Cell: cell(alignment - .5)}}}
	}
	t := &compare.Table{Reference: "base", Footnotes: []string{"For these seeds only."},
		Metrics: []compare.Metric{{Name: "alignment", Label: "alignment", Better: "higher"}, {Name: "alignment.count", Label: "count"}, {Name: "alignment.colour", Label: "colour"},
			{Name: "fidelity.recall", Label: "recall", Better: "higher", Real: "fidelity.recall.real"}},
		Rows: []compare.Row{row("base", .5, .9), row(hostile, .7, .8), {Arm: "missing", Label: "missing", Trials: []string{"m-1", "m-2"}, Seeds: []string{"1", "2"}, Cells: map[string]compare.Cell{}}}}
	samples := &table.Table{}
	col := func(name string, k table.Kind) *table.Column {
		c := &table.Column{Name: name, Kind: k}
		samples.Columns = append(samples.Columns, c)
		return c
	}
	trial, set, prompt, category, verdict, read := col("trial", table.String), col("set", table.String), col("prompt", table.String), col("category", table.String), col("verdict", table.String), col("read", table.String)
	index, seen := col("index", table.Int), col("seen", table.Bool)
	for _, r := range t.Rows[:2] {
		for _, id := range r.Trials {
			for i := range 6 {
				trial.Strings, set.Strings = append(trial.Strings, id), append(set.Strings, "alignment")
				prompt.Strings, category.Strings = append(prompt.Strings, fmt.Sprintf("prompt %d %s", i, hostile)), append(category.Strings, "combination")
				verdict.Strings, read.Strings = append(verdict.Strings, []string{"good", "bad", "skip"}[i%3]), append(read.Strings, "two red circles")
				index.Ints, seen.Bools = append(index.Ints, int64(i)), append(seen.Bools, i%2 == 0)
			}
		}
	}
	curves := &table.Table{Columns: []*table.Column{{Name: "trial", Kind: table.String}, {Name: "stage", Kind: table.String},
		{Name: "step", Kind: table.Int}, {Name: "metric", Kind: table.String}, {Name: "value", Kind: table.Float}}}
	for i := range 20 {
		curves.Column("trial").Strings = append(curves.Column("trial").Strings, "base-1")
		curves.Column("stage").Strings = append(curves.Column("stage").Strings, "finetune")
		curves.Column("step").Ints = append(curves.Column("step").Ints, int64(i))
		curves.Column("metric").Strings = append(curves.Column("metric").Strings, "loss")
		curves.Column("value").Floats = append(curves.Column("value").Floats, 1/float64(i+1))
	}
	return page.Report{
		Name: "s", Title: "Title " + hostile, Question: "Why?", Seeds: []string{"1", "2"}, Table: t, Samples: samples, Curves: curves,
		Image: func(_, _ string, i int) (image.Image, error) {
			img := image.NewNRGBA(image.Rect(0, 0, 16, 16))
			for k := range 16 {
				img.Set(k, k, color.NRGBA{200, uint8(40 * i), 30, 255})
			}
			return img, nil
		},
		Notes: []string{"Annotator and gold share one parser."}, Methods: []string{"A paragraph."},
		Parameters: []page.Parameters{{Label: "base", Lines: []string{`finetune.method "none"`}, Trials: []page.Trial{{View: "base@1", ID: "base-1"}, {View: "base@2", ID: "base-2"}}}, {Label: hostile}, {Label: "missing"}},
		Provenance: page.Provenance{Command: "ablate run s", Versions: []string{"ablate 1"}, Attempts: 3, Seconds: 90},
	}
}

func write(t *testing.T) (dir, html string) {
	t.Helper()
	dir = t.TempDir()
	path, err := page.Write(dir, report())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir, string(b)
}

func TestWrite(t *testing.T) {
	dir, html := write(t)
	if strings.Contains(html, "<img src=x") {
		t.Error("a name injects markup")
	}
	for _, want := range []string{"no result", "real against real", "share one parser", "For these seeds only.", "2 seeds (1, 2)", "The pretrained model, from which all arms start", "ablate run s", `loading="lazy"`} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, f := range []string{"front", "categories", "finetune-loss"} {
		for _, ext := range []string{".svg", ".png"} {
			if info, err := os.Stat(filepath.Join(dir, "figures", f+ext)); err != nil || info.Size() < 1000 {
				t.Errorf("figure %s%s: %v", f, ext, err)
			}
		}
	}
	_, again := write(t)
	if html != again {
		t.Error("the same results give another page")
	}
}

// browser finds Chromium, without which the test skips, or fails where
// ABLATE_TEST_STRICT=1.
func browser(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("ABLATE_TEST_STRICT") == "1" {
		t.Fatal("needs Chromium (Debian's package chromium)")
	}
	t.Skip("needs Chromium (Debian's package chromium)")
	return ""
}

// TestBrowser opens the page from disk, clicks a column's head and reads what
// the table and the console say. A script error or a failed load ends up in
// the console, and there is no network.
func TestBrowser(t *testing.T) {
	bin := browser(t)
	dir, html := write(t)
	probe := `<script>
	const heads = document.querySelectorAll("table.sortable")[0].tHead.rows[0].cells;
	const first = () => document.querySelectorAll("table.sortable")[0].tBodies[0].rows[0].cells[0].textContent;
	const order = [];
	heads[1].firstElementChild.click(); order.push(first().includes("onerror") ? "hostile" : first().trim());
	heads[1].firstElementChild.click(); order.push(first().trim());
	const broken = [...document.images].filter(i => i.complete && i.naturalWidth === 0 && i.loading !== "lazy").length;
	document.documentElement.dataset.result = order.join(",") + ";broken=" + broken + ";title=" + document.title.startsWith("Title");
	</script>`
	path := filepath.Join(dir, "probe.html")
	if err := os.WriteFile(path, []byte(strings.Replace(html, "</body>", probe+"</body>", 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--user-data-dir="+t.TempDir(), "--virtual-time-budget=3000", "--dump-dom", "file://"+path)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	if want := `data-result="hostile,missing;broken=0;title=true"`; !strings.Contains(out.String(), want) {
		at := strings.Index(out.String(), "data-result")
		t.Errorf("the page says %.120s, want %s", out.String()[max(at, 0):], want)
	}
	for line := range strings.Lines(errs.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("console: %s", line)
		}
	}
}
