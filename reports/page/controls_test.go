package page_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/reports/page"
	"ablate/reports/page/browsertest"
	"ablate/reports/text"
)

// probing is the beginning of a script that tests a page. Its function say collects the
// result.
const probing = `<script>addEventListener("load", () => {
	const out = [], say = (...what) => out.push(...what);
	const $ = (selector, of = document) => of.querySelector(selector), $$ = (selector, of = document) => [...of.querySelectorAll(selector)];
	const name = row => row.cells[0].textContent.includes("onerror") ? "hostile" : row.cells[0].textContent.trim();
	const set = (selector, value) => { const e = $(selector); e.value = value; e.dispatchEvent(new Event(e.tagName === "SELECT" ? "change" : "input")); };
	const end = () => { document.documentElement.dataset.result = out.join(";"); };
`

// TestSort: a click on a head sorts the better values first, a second click the worse
// ones, and a third click restores the order of the study. Rows without a value come
// last.
func TestSort(t *testing.T) {
	dir, html := write(t)
	probe := probing + `
	const table = $("#ablation"), reset = $(".reset", table.closest("section"));
	const order = () => [...table.tBodies[0].rows].map(name).join(" ") + (reset.hidden ? "" : " sorted");
	const head = label => $$("th button", table.tHead).find(b => b.textContent.startsWith(label));
	for (const label of ["alignment", "Fréchet"]) {
		say(order());
		for (let i = 0; i < 3; i++) { head(label).click(); say(order()); }
	}
	head("arm").click(); say(order());
	reset.click(); say(order());
	end();
	});</script>`
	got := browsertest.Said(t, open(t, dir, html, "", probe))
	study, better, worse := "base hostile missing", "hostile base missing sorted", "base hostile missing sorted"
	want := strings.Join([]string{study, better, worse, study, study, worse, better, study, better, study}, ";") // a lower Fréchet is better
	if got != want {
		t.Errorf("the rows are\n%s, want\n%s", got, want)
	}
}

// TestFilter: a text in one filter applies to all tables of rows.
func TestFilter(t *testing.T) {
	dir, html := write(t)
	probe := probing + `
	set("input.filter", "BASE");
	for (const table of $$("table[data-filtered]")) say(table.id + " " + [...table.tBodies[0].rows].filter(r => !r.hidden).length + " of " + table.tBodies[0].rows.length + " " + $(".shown", table.closest("section")).textContent);
	say($$("input.filter").map(f => f.value).join(" "));
	end();
	});</script>`
	if got, want := browsertest.Said(t, open(t, dir, html, "", probe)), "ablation 1 of 3 1 of 3 rows;differences-table 1 of 2 1 of 2 rows;BASE BASE"; got != want {
		t.Errorf("the page says %s, want %s", got, want)
	}
}

// TestRowLinks: the name of a row is a link to its parameters and to its differences from
// the reference.
func TestRowLinks(t *testing.T) {
	r := report()
	r.Parameters[1].Lines = []string{"finetune.beta 0.5", `finetune.method "awm"`}
	dir := t.TempDir()
	path, err := page.Write(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	probe := probing + `
	say($$("#ablation tbody th a, #differences-table tbody th a").map(a => a.hash).join(" "));
	$("#differences-table tbody tr:last-child th a").click();
	setTimeout(() => {
		const row = $("#row-1");
		say(row.open, $("pre", row).textContent.trim().replace(/\n/g, " | "));
		end();
	}, 500);
	});</script>`
	if got, want := browsertest.Said(t, open(t, dir, string(html), "", probe)), `#row-0 #row-1 #row-2 #row-0 #row-1;true;finetune.beta (unused) → 0.5 | finetune.method &quot;none&quot; → &quot;awm&quot;`; got != want {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
}

// large is a study of 24 rows on two axes with every metric of the shapes world.
func large() page.Report {
	r := report()
	r.Exchanges = nil
	t := &compare.Table{Reference: "base", Family: 46}
	for _, m := range compare.Shown {
		m.Primary, m.Better = m.Name == "alignment" || m.Name == "fidelity.recall", "higher"
		t.Metrics = append(t.Metrics, m)
	}
	p := .0123
	for i := range 24 {
		row := compare.Row{Arm: "base", Label: "base", Seeds: []string{"1", "2", "3"}, Cells: map[string]compare.Cell{}, Differences: map[string]compare.Difference{}}
		if i > 0 {
			row.Arm = fmt.Sprintf("grid of method %d", i%3)
			row.Point = []compare.Value{{Axis: "finetune.beta", Value: fmt.Sprint(float64(i) / 8)}, {Axis: "finetune.learningRate", Value: fmt.Sprint(.0001 * float64(i))}}
			row.Label = fmt.Sprintf("%s[finetune.beta=%s,finetune.learningRate=%s]", row.Arm, row.Point[0].Value, row.Point[1].Value)
		}
		for k := range row.Seeds {
			row.Trials = append(row.Trials, fmt.Sprintf("trial-%d-%d", i, k))
		}
		for _, m := range t.Metrics {
			v := .3 + .02*float64(i)
			c := compare.Cell{Mean: v, Low: v - .05, High: v + .05, Interval: compare.OverSeeds, Seeds: row.Seeds, Values: []float64{v, v, v}, N: 3}
			row.Cells[m.Name] = c
			if i > 0 {
				c.Mean, c.Low, c.High = v-.3, v-.38, v-.22
				d := compare.Difference{Cell: c, P: &p}
				if m.Primary {
					d.PCorrected, d.Corrected, d.Significant = &p, &compare.Bounds{Low: v - .4, High: v - .2}, i > 12
				}
				row.Differences[m.Name] = d
			}
		}
		t.Rows = append(t.Rows, row)
	}
	r.Table, r.Parameters, r.Seeds = t, nil, []string{"1", "2", "3"}
	return r
}

// TestWide: tables of 24 rows on two axes fit a window of 1,280 pixels, each value of an
// axis in its column, and groups of columns open.
func TestWide(t *testing.T) {
	dir := t.TempDir()
	path, err := page.Write(dir, large())
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	probe := probing + `
	const page = document.documentElement;
	const over = () => Math.max(0, page.scrollWidth - innerWidth);
	say(over());
	for (const table of $$("table.metrics")) {
		const shown = () => [...table.tHead.rows[0].cells].filter(c => c.offsetWidth > 0).length;
		say(table.id, Math.max(0, table.parentElement.scrollWidth - table.parentElement.clientWidth), shown(), [...table.tBodies[0].rows].at(-1).cells[2].textContent, Math.max(...[...table.tBodies[0].rows].map(r => r.offsetHeight)) < 60);
		const box = $("[data-group=fidelity]", table.closest("section"));
		box.click(); say(shown());
		box.click(); say(shown(), over());
	}
	end();
	});</script>`
	got := browsertest.Said(t, open(t, dir, string(html), "", probe, "--window-size=1280,900"))
	if want := "0;ablation;0;10;0.0023;true;17;10;0;differences-table;0;10;0.0023;true;17;10;0"; got != want {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
}

// TestByPrompt: the page shows what an arm wins and loses by prompt, with sums by category,
// the largest change first. A prompt is a link to its pictures of both arms.
func TestByPrompt(t *testing.T) {
	dir, html := write(t)
	probe := probing + `
	const rows = () => [...$("#prompt-table").tBodies[0].rows];
	const line = row => [...row.cells].slice(2).map(c => c.textContent).join(" ");
	say(rows().map(line).join(" | "), [...$("#prompt-sum").tBodies[0].rows].map(r => r.textContent).join(" | "));
	$$("#prompt-table th button")[4].click(); say(rows().map(line).join(" | "));
	set("#prompt-category", "count"); say(rows().map(line).join(" | "), rows()[0].querySelector("a") === null);
	set("#prompt-category", ""); set("#prompt-text", "PROMPT 1"); say(rows().length + " left");
	rows()[0].querySelector("a").click();
	setTimeout(() => {
		say($$("#gallery .pair").length + " pairs", $$("#gallery .pair p b").every(b => b.textContent.startsWith("prompt 1 ")), $("#gallery-b").value, $("#gallery-link").hash === location.hash);
		end();
	}, 500);
	});</script>`
	got := browsertest.Said(t, open(t, dir, html, "", probe))
	if want := "2 2 0 +2 2 0 | 2 0 1 −1 0 1 | 4 1 1 0 0 0;combination421+1 | count4110 | together832+1;2 0 1 −1 0 1 | 4 1 1 0 0 0 | 2 2 0 +2 2 0;4 1 1 0 0 0;true;1 left;2 pairs;true;base;true"; got != want {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
}

// TestPhotos: pictures of imported runs are JPEG, cannot be filtered by verdict, and the
// page counts in runs what a row wins and loses.
func TestPhotos(t *testing.T) {
	r := report()
	r.Imported, r.Exchanges.Metric = true, "alignment"
	verdict := r.Samples.Column("verdict")
	for i := range verdict.Strings {
		verdict.Strings[i] = ""
	}
	dir, html := written(t, r)
	probe := probing + `
	const line = row => [...row.cells].slice(2).map(c => c.textContent).join(" ");
	say([...$("#prompt-table").tBodies[0].rows].map(line).join(" | "));
	$("#prompt-table tbody a").click();
	setTimeout(() => {
		const img = $("#gallery img");
		say(img.src.split(".").pop(), img.naturalWidth, $("#gallery figcaption span").textContent === "", $("#gallery-verdict").checkVisibility(), $("#gallery-text").checkVisibility(), $("#ran") !== null, $("#failures") === null);
		end();
	}, 500);
	});</script>`
	got := browsertest.Said(t, open(t, dir, html, "", probe))
	if want := "2 2 0 +2 | 2 0 1 −1 | 4 1 1 0;jpeg;16;true;false;true;true;true"; got != want {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
}

// differing is the small report with verdicts that differ: of prompt 0 in seed 1 the base
// alone is good, of prompt 1 the other row alone.
func differing(t *testing.T) (dir, html string) {
	t.Helper()
	r := report()
	verdict, trial, index := r.Samples.Column("verdict").Strings, r.Samples.Column("trial").Strings, r.Samples.Column("index").Ints
	for i := range verdict {
		if trial[i] == "host-1" && index[i] < 2 {
			verdict[i] = []string{"bad", "good"}[index[i]]
		}
	}
	return written(t, r)
}

// TestTwoArms: two arms are compared in large pictures. Filters select prompts on which
// they differ, and the URL records what is shown and opens it again.
func TestTwoArms(t *testing.T) {
	dir, html := differing(t)
	probe := probing + `
	const pairs = () => $$("#gallery .pair").map(p => p.querySelector("b").textContent.slice(0, 8) + " " + $$("figcaption > span", p).map(s => s.textContent).join("-")).join(" | ");
	set("#gallery-view", "two");
	say($$("#gallery .pair").length + " pairs", $("#gallery-gold").offsetWidth + " wide", getComputedStyle($("#gallery img")).imageRendering, $("#gallery img").offsetWidth > 200);
	set("#gallery-verdict", "a"); say(pairs());
	set("#gallery-verdict", "b"); say(pairs());
	$("#gallery-swap").click(); say(pairs());
	set("#gallery-text", "prompt 5"); say($("#gallery-page").textContent);
	set("#gallery-verdict", ""); set("#gallery-seed", ""); say($("#gallery-page").textContent);
	set("#gallery-text", "1"); say([...new URLSearchParams(location.hash.slice("#samples?".length))].map(([k, v]) => k + " " + (v.includes("onerror") ? "hostile" : v)).join(", "));
	end();
	});</script>`
	got := browsertest.Said(t, open(t, dir, html, "", probe))
	want := "6 pairs;0 wide;pixelated;true;prompt 0 good-bad;prompt 1 bad-good;prompt 0 bad-good;1 of 1 (0 prompts);1 of 1 (2 prompts);view two, a hostile, b base, seed , text 1"
	if got != want {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
	again := probing + `
	setTimeout(() => {
		say($$("#gallery .pair").map(p => $$("figcaption > span", p).map(s => s.textContent).join("-")).join(" | "), $("#gallery-view").value);
		end();
	}, 500);
	});</script>`
	link := "#samples?" + url.Values{"view": {"two"}, "a": {hostile}, "b": {"base"}, "verdict": {"a"}}.Encode()
	if got := browsertest.Said(t, open(t, dir, html, link, again)); got != "good-bad;two" {
		t.Errorf("the link shows %s", got)
	}
}

// TestNumbers: a gold that gives numbers has them below the pictures, of two arms the pairs that
// either wins can be selected, and no filter asks for verdicts.
func TestNumbers(t *testing.T) {
	r := report()
	n := r.Samples.Rows()
	gold := &table.Column{Name: "gold", Kind: table.Float, Floats: slices.Repeat([]float64{.5}, n), Valid: slices.Repeat([]bool{true}, n)}
	trial, index := r.Samples.Column("trial").Strings, r.Samples.Column("index").Ints
	for i := range n {
		if r.Samples.Column("verdict").Strings[i] = ""; trial[i] == "host-1" && index[i] < 3 {
			gold.Floats[i], gold.Valid[i] = []float64{.25, .75, 0}[index[i]], index[i] < 2
		}
	}
	r.Samples.Columns = append(r.Samples.Columns, gold)
	r.Exchanges.Numbers = true
	dir, html := written(t, r)
	probe := probing + `
	dispatchEvent(new Event("beforeprint"));
	say($("#gallery-gold").checkVisibility(), $("#gallery img").alt);
	const pairs = () => $$("#gallery .pair").map(p => p.querySelector("b").textContent.slice(0, 8) + " " + $$("figcaption > span", p).map(s => s.textContent).join("-")).join(" | ");
	set("#gallery-view", "two"); say(pairs());
	set("#gallery-verdict", "a"); say(pairs());
	set("#gallery-verdict", "b"); say(pairs());
	end();
	});</script>`
	got := browsertest.Said(t, open(t, dir, html, "", probe))
	want := "false;.500: two red circles;prompt 0 .500-.250 | prompt 1 .500-.750 | prompt 2 .500- | prompt 3 .500-.500 | prompt 4 .500-.500 | prompt 5 .500-.500;prompt 0 .500-.250;prompt 1 .500-.750"
	if got != want {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
	for _, want := range []string{"gives the arm’s image a higher number than", "A higher</option>"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestManyArms: the reader can choose arms, and the reference is always the first.
func TestManyArms(t *testing.T) {
	dir, html := differing(t)
	probe := probing + `
	dispatchEvent(new Event("beforeprint"));
	const heads = () => $$("#gallery thead th").length - 1;
	say(heads() + " arms", $("#gallery thead .pinned").textContent.trim(), $("#gallery-arms summary").textContent);
	const box = $("#gallery-arms input"); box.click(); say(heads() + " arms", location.hash);
	set("#gallery-gold", "differ"); say($$("#gallery tbody tr").length + " differ");
	box.click(); say($$("#gallery tbody tr").length + " differ");
	end();
	});</script>`
	if got, want := browsertest.Said(t, open(t, dir, html, "", probe)), "2 arms;base;1 of 1 other arms;1 arms;#samples?arm=;0 differ;2 differ"; got != want {
		t.Errorf("the page says %s, want %s", got, want)
	}
}

// TestPrinted: sections that are closed on the screen are printed, and are closed again
// afterwards.
func TestPrinted(t *testing.T) {
	dir, html := write(t)
	probe := probing + `
	const closed = () => $$("main details:not([open])").filter(d => !d.matches(".whole, #gallery-arms")).length;
	say(closed() > 0);
	dispatchEvent(new Event("beforeprint")); say(closed());
	dispatchEvent(new Event("afterprint")); say(closed() > 0);
	end();
	});</script>`
	if got, want := browsertest.Said(t, open(t, dir, html, "", probe)), "true;0;true"; got != want {
		t.Errorf("the page says %s, want %s", got, want)
	}
}

// TestData: the data behind the tables are files beside the page, or are in the page if
// the report is one file. In a folder, links to Arrow files lead to the parent folder.
func TestData(t *testing.T) {
	r := report()
	var want bytes.Buffer
	if err := table.CSV(&want, text.Long(r.Table)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "trials.arrow"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	path, err := page.Write(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data/table.csv", "data/prompts.csv"} {
		if !bytes.Contains(html, []byte(`href="`+name+`" download="s-`+filepath.Base(name)+`"`)) {
			t.Errorf("there is no link to %s", name)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "data", "table.csv")); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the file has\n%s, %v, want\n%s", got, err, want.Bytes())
	}
	if !bytes.Contains(html, []byte(`href="../trials.arrow"`)) || bytes.Contains(html, []byte("samples.arrow")) {
		t.Error("links to Arrow files are not those to the files that are there")
	}
	single, err := page.Single(r, 20e6)
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`href="data:text/csv;base64,([^"]*)" download="s-table.csv"`).FindSubmatch(single)
	if link == nil {
		t.Fatal("one file has no data of its table")
	}
	encoded := strings.ReplaceAll(string(link[1]), "&#43;", "+")
	if got, err := base64.StdEncoding.DecodeString(encoded); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("one file has\n%s, %v, want\n%s", got, err, want.Bytes())
	}
	if n := bytes.Count(single, link[1]); n != 1 {
		t.Errorf("one file has the data of its table %d times", n)
	}
	probe := probing + `
	$("#table-data").addEventListener("click", e => { e.preventDefault(); say("data"); });
	$$("a.data[href='#table-data']").forEach(a => a.click());
	end();
	});</script>`
	if got := browsertest.Said(t, open(t, t.TempDir(), string(single), "", probe)); got != "data" {
		t.Errorf("other links lead to the data: %q", got)
	}
	if bytes.Contains(single, []byte("../trials.arrow")) {
		t.Error("one file links to files that it cannot know of")
	}
}

// TestMostPictured: a report of very many rows has pictures of the first of them, with the reference,
// and says so.
func TestMostPictured(t *testing.T) {
	r := report()
	base := r.Table.Rows[0]
	for i := range 70 {
		row := base
		row.Arm, row.Label, row.Trials = "again", fmt.Sprint("again ", i), []string{"host-1", "host-2"}
		r.Table.Rows = append([]compare.Row{row}, r.Table.Rows...) // the reference is one of the last
	}
	dir, html := written(t, r)
	if want := "Pictures are of 60 rows of 73: the reference, those on the front, and the first of the study."; !strings.Contains(html, want) {
		t.Errorf("the page does not say %q", want)
	}
	data, err := os.ReadFile(filepath.Join(dir, "data", "page.js"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), `"id":"host-1"`); n != 59 || !strings.Contains(string(data), `"id":"base-1"`) {
		t.Errorf("%d other rows have pictures, and the reference %v", n, strings.Contains(string(data), `"id":"base-1"`))
	}
	if _, html := write(t); strings.Contains(html, "Pictures are of") {
		t.Error("a small report says that rows have no pictures")
	}
}

// TestFullPictures: a picture of 1,024 × 1,024 pixels is small in the page, loaded when the reader
// comes near, and a link that the keyboard reaches opens it as it is. The page in one file has no
// full pictures and says so.
func TestFullPictures(t *testing.T) {
	r := report()
	r.Photographs, r.Judge = true, "column colour of engine toy"
	r.Image = func(_, _ string, i int) (image.Image, error) {
		img := image.NewPaletted(image.Rect(0, 0, 1024, 1024), color.Palette{color.RGBA{uint8(40 * i), 90, 160, 255}})
		return img, nil
	}
	dir, html := written(t, r)
	probe := probing + `
	dispatchEvent(new Event("beforeprint"));
	const img = $("#gallery img"), link = img.closest("a");
	link.focus();
	say(img.loading, img.naturalWidth, document.activeElement === link, link.ariaLabel.startsWith("base, prompt 0"), $$("#gallery a[target]").length);
	const full = new Image();
	full.onload = () => { say(full.naturalWidth, full.naturalHeight); end(); };
	full.src = link.href;
	});</script>`
	if got, want := browsertest.Said(t, open(t, dir, html, "", probe)), "lazy;256;true;true;12;1024;1024"; got != want && got != strings.Replace(want, "256", "0", 1) {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
	for _, want := range []string{"at most 256 pixels a side", "A click, or Enter, opens one with at most 1,024.", "which judges the images (column colour of engine toy)"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	single, err := page.Single(r, 20e6)
	if err != nil || !strings.Contains(string(single), "This file has no others") {
		t.Errorf("one file does not say what it leaves out: %v", err)
	}
}
