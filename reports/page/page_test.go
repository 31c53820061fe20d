package page_test

import (
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/page"
	"ablate/reports/page/browsertest"
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
			"fidelity.recall": points(recall), "fidelity.recall.real": points(.98), "fidelity.frechet": points(20 - 10*recall)},
			Differences: map[string]compare.Difference{"alignment": {Cell: cell(alignment - .5)}}}
	}
	t := &compare.Table{Reference: "base", Pretrained: "base", Answer: compare.Answer{Metric: "alignment", Values: []string{"base", hostile}, Few: 1, Seeds: [2]int{2, 2}, Named: &compare.Named{Row: hostile, Metric: compare.Difference{Cell: cell(.2)}}}, Notes: []compare.Note{{Kind: compare.FewSeeds, Names: []string{compare.OverImages}}, {Kind: compare.SameParser}},
		Metrics: []compare.Metric{{Name: "alignment", Label: "alignment", Better: "higher", Primary: true}, {Name: "alignment.count", Label: "count"}, {Name: "alignment.colour", Label: "colour"},
			{Name: "fidelity.recall", Label: "recall", Better: "higher", Real: "fidelity.recall.real"}, {Name: "fidelity.frechet", Digits: 1, Label: "Fréchet", Better: "lower"}},
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
	for _, trial := range []string{"base-1", "base-2", "host-1", "host-2"} {
		for i := range 4 {
			for m, v := range map[string]float64{"kl": float64(i * i), "proxy": .5 + .1*float64(i), "gold": .5 - .02*float64(i*i)} {
				curves.Column("trial").Strings = append(curves.Column("trial").Strings, trial)
				curves.Column("stage").Strings = append(curves.Column("stage").Strings, "finetune")
				curves.Column("step").Ints = append(curves.Column("step").Ints, int64(i))
				curves.Column("metric").Strings = append(curves.Column("metric").Strings, m)
				curves.Column("value").Floats = append(curves.Column("value").Floats, v+.01*float64(len(trial))*float64(trial[0]&1))
			}
		}
	}
	t.OverOptimization = compare.OverOptimized(t, compare.Courses(t, nil, curves))
	return page.Report{
		Name: "s", Title: "Title " + hostile, Question: "Why?", Seeds: []string{"1", "2"}, Table: t, Samples: samples, Curves: curves, ProbeImages: 256,
		Image: func(_, _ string, i int) (image.Image, error) {
			img := image.NewNRGBA(image.Rect(0, 0, 16, 16))
			for k := range 16 {
				img.Set(k, k, color.NRGBA{200, uint8(40 * i), 30, 255})
			}
			return img, nil
		},
		Exchanges: &compare.Exchanges{Reference: "base", Prompts: []compare.Prompt{{Text: "prompt 0 " + hostile, Category: "combination", Seen: true}, {Text: "prompt 1 " + hostile, Category: "combination"}, {Text: "without a picture", Category: "count", Seen: true}},
			Rows: []compare.Exchange{{Row: 1, Counts: []compare.Count{{Pairs: 2, Lost: 1, Worse: 1}, {Pairs: 2, Won: 2, Better: 2}, {Pairs: 4, Won: 1, Lost: 1}}}}},
		Methods:    []string{"A paragraph."},
		Parameters: []page.Parameters{{Label: "base", Lines: []string{`finetune.method "none"`}, Trials: []page.Trial{{View: "base@1", ID: "base-1"}, {View: "base@2", ID: "base-2"}}}, {Label: hostile, Trials: []page.Trial{{View: "host@1", ID: "base-1"}}}, {Label: "missing"}},
		Provenance: page.Provenance{Command: "ablate run s", Versions: []string{"ablate 1"}, Attempts: 3, Seconds: 90},
	}
}

func write(t *testing.T) (dir, html string) {
	t.Helper()
	return written(t, report())
}

// written writes a report, and reads its page.
func written(t *testing.T, r page.Report) (dir, html string) {
	t.Helper()
	dir = t.TempDir()
	path, err := page.Write(dir, r)
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
	for _, want := range []string{"no result", "real against real", "One program (the parser) labels", "for these seeds and prompts only", "2 seeds (1, 2)", "The pretrained model, from which all arms start", "ablate run s", "A point is a probe of 256 images a seed", "2 seeds cannot show whether", "Over-optimization is not tested, which takes three seeds of a row"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, f := range []string{"front", "categories", "finetune-loss", "overoptimization"} {
		for _, ext := range []string{".svg"} {
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

// open adds a probe script to a page, opens it from disk in headless Chromium without a
// network, and returns the document after the probe. A script error or a failed load is
// logged to the console and fails the test.
func open(t *testing.T, dir, html, fragment, probe string, flags ...string) string {
	t.Helper()
	path := filepath.Join(dir, "probe.html")
	if err := os.WriteFile(path, []byte(strings.Replace(html, "</body>", probe+"</body>", 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	return browsertest.Open(t, "file://"+path+fragment, append([]string{"--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=8000"}, flags...)...)
}

// TestBrowser acts like a reader: it points at the front, pages through the gallery, and
// follows a link to a trial.
func TestBrowser(t *testing.T) {
	dir, html := write(t)
	probe := `<script>addEventListener("load", () => {
	const out = [];
	const spots = [...document.querySelectorAll("#figure-front .wide .spot")], card = document.getElementById("card");
	out.push(spots.length + " spots", "card " + card.hidden);
	spots[0].focus();
	out.push(card.hidden ? "no card" : card.querySelector("b").textContent, card.querySelectorAll("p")[1].textContent.startsWith("alignment .500"), card.querySelectorAll("img").length + " pictures", card.textContent.includes("trial base-1"));
	dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"})); out.push("card " + card.hidden);
	dispatchEvent(new Event("beforeprint"));
	const pictures = () => document.querySelectorAll("#gallery img").length;
	out.push(pictures() + " in the gallery");
	const gold = document.getElementById("gallery-gold"); gold.value = "differ"; gold.dispatchEvent(new Event("change"));
	out.push(pictures() + " where arms differ");
	const seen = document.getElementById("gallery-seen"); gold.value = ""; seen.value = "unseen"; seen.dispatchEvent(new Event("change"));
	out.push(pictures() + " unseen");
	const rules = [...document.styleSheets[0].cssRules].filter(r => r.media && r.media.mediaText === "print").flatMap(r => [...r.cssRules]);
	out.push(rules.filter(r => r.style.display === "none" && document.getElementById("gallery").querySelector(r.selectorText)).length + " lost in print");
	const ids = [...document.querySelectorAll("[id]")].map(e => e.id); out.push(ids.length - new Set(ids).size + " ids twice");
	out.push("open " + document.getElementById("trial-base-2").closest("details").open);
	document.querySelectorAll("img").forEach(i => { i.loading = "eager"; });
	setTimeout(() => {
		out.push([...document.images].filter(i => !i.complete || i.naturalWidth === 0).length + " broken", document.title.startsWith("Title"));
		document.documentElement.dataset.result = out.join(";");
	}, 3000);
	});</script>`
	got := browsertest.Said(t, open(t, dir, html, "#trial-base-2", probe))
	want := "2 spots;card true;base;true;4 pictures;true;card true;12 in the gallery;0 where arms differ;6 unseen;0 lost in print;0 ids twice;open true;0 broken;true"
	if got != want {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
}

// TestNarrow: on a telephone, names leave room for the figures of a table that
// scrolls beside them.
func TestNarrow(t *testing.T) {
	dir, html := write(t)
	probe := `<script>addEventListener("load", () => {
	const names = document.getElementById("ablation").rows[0].cells[0].offsetWidth / innerWidth;
	document.documentElement.dataset.result = names + ";" + (document.documentElement.scrollWidth - innerWidth);
	});</script>`
	var names, over float64
	got := browsertest.Said(t, open(t, dir, html, "", probe, "--window-size=500,900"))
	if _, err := fmt.Sscanf(got, "%g;%g", &names, &over); err != nil || names > .5 || over > 0 {
		t.Errorf("names take, and the page exceeds the window by: %s, %v", got, err)
	}
}

// TestOddLink: a URL whose fragment is not valid escaped text causes no script error.
func TestOddLink(t *testing.T) {
	dir, html := write(t)
	browsertest.Said(t, open(t, dir, html, "#100%", `<script>addEventListener("load", () => { document.documentElement.dataset.result = "loaded"; });</script>`))
}

// TestSingle: a report of one file contains the pictures, and says if not all of them
// fit.
func TestSingle(t *testing.T) {
	whole, err := page.Single(report(), 20e6)
	if err != nil {
		t.Fatal(err)
	}
	probe := `<script>addEventListener("load", () => {
	dispatchEvent(new Event("beforeprint"));
	document.querySelectorAll("img").forEach(i => { i.loading = "eager"; });
	setTimeout(() => {
		document.documentElement.dataset.result = document.images.length + ";" + [...document.images].filter(i => !i.src.startsWith("data:") || i.naturalWidth === 0).length;
	}, 3000);
	});</script>`
	got := browsertest.Said(t, open(t, t.TempDir(), string(whole), "", probe))
	if got == "0;0" || !strings.HasSuffix(got, ";0") {
		t.Errorf("pictures, and those outside the file: %s", got)
	}
	capped, err := page.Single(report(), len(whole)-600)
	if err != nil || !strings.Contains(string(capped), "This file is capped at") || !strings.Contains(string(capped), "prompts a seed of the 6 that") {
		t.Errorf("a capped file does not say so: %v", err)
	}
	if _, err := page.Single(report(), 1000); err == nil {
		t.Error("a cap that nothing fits is no error")
	}
}

// TestAccessible runs axe-core on the page, light and dark: nothing it finds is
// serious. ABLATE_TEST_AXE names axe.min.js.
func TestAccessible(t *testing.T) {
	axe := browsertest.Axe(t)
	engines := report()
	engines.Photographs = true
	engines.People = []page.People{{Title: "a against b", Done: 20, Of: 30, Raters: 3, Prompts: 10, Notes: []string{"Agreement."},
		Rows: []page.PeopleRow{{Question: "alignment", Group: "all", Prompts: 10, Wins: 12, Ties: 5, Losses: 3, Share: ".73", Low: ".60", High: ".82"}}}}
	engines.Engines = []page.Engine{{Name: "toy", Program: "template 1", Verbs: []string{"sample (revision 1)"}, Environment: "1 package", Packages: []string{"torch==2"}, Notes: []string{"A note."}}}
	engines.Image = func(_, _ string, _ int) (image.Image, error) { return image.NewGray(image.Rect(0, 0, 300, 200)), nil }
	probe := `<script src="axe.js"></script><script>addEventListener("load", () => {
	dispatchEvent(new Event("beforeprint"));
	document.querySelectorAll("details").forEach(d => { d.open = true; });
	document.querySelector(".spot").focus();
	axe.run().then(r => {
		document.documentElement.dataset.result = r.passes.length + " passed: " + r.violations.filter(v => v.impact === "serious" || v.impact === "critical").map(v => v.id + " " + v.nodes[0].target + " " + v.nodes[0].failureSummary).join("; ");
	});
	});</script>`
	for _, r := range []page.Report{report(), engines} {
		dir, html := written(t, r)
		if err := os.WriteFile(filepath.Join(dir, "axe.js"), axe, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, flags := range [][]string{nil, {"--blink-settings=preferredColorScheme=0"}} {
			got := browsertest.Said(t, open(t, dir, html, "", probe, flags...))
			if n := 0; !strings.HasSuffix(got, " passed: ") {
				t.Errorf("%v: axe-core finds: %s", flags, got)
			} else if _, err := fmt.Sscan(got, &n); err != nil || n < 20 {
				t.Errorf("axe-core ran %d rules only", n)
			}
		}
	}
}
