package page_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ablate/analysis/compare"
	"ablate/reports/page"
	"ablate/reports/page/browsertest"
)

// crowded is a report of 30 rows, most of them within a few pixels of each other, and
// several at one point.
func crowded() page.Report {
	r := report()
	first := r.Table.Rows[0]
	r.Table.Rows = nil
	for i := range 30 {
		row := first
		row.Arm = fmt.Sprint("arm ", i)
		row.Label = row.Arm
		row.Trials = []string{fmt.Sprint("t", i, "-1"), fmt.Sprint("t", i, "-2")}
		row.Cells = map[string]compare.Cell{}
		for m, c := range first.Cells {
			shift := .002 * float64(i%5)
			if i > 25 {
				shift = .1 * float64(i-25)
			}
			c.Mean += shift
			row.Cells[m] = c
		}
		d := first.Differences["alignment"]
		d.Mean += .001 * float64(i)
		row.Differences = map[string]compare.Difference{"alignment": d}
		r.Table.Rows = append(r.Table.Rows, row)
	}
	r.Table.Reference = "arm 0"
	return r
}

// TestPoints: on a wide and on a narrow page, the mouse (in the middle of the area) and
// the keyboard find every point of every figure, which shows its name and values.
func TestPoints(t *testing.T) {
	dir := t.TempDir()
	path, err := page.Write(dir, crowded())
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	probe := `<script>addEventListener("load", () => {
	const out = [], card = document.getElementById("card");
	if (innerWidth < 640) document.body.style.maxWidth = "390px"; // no window of Chromium is so narrow
	const edge = document.body.getBoundingClientRect().right;
	let all = 0, stops = 0;
	for (const figure of document.querySelectorAll("figure[id]")) {
		const spots = [...figure.querySelectorAll(".spot")].filter(s => s.offsetParent);
		for (const p of figure.querySelectorAll(".plot")) if (p.getBoundingClientRect().right > edge) out.push(figure.id + " is too wide");
		if (!spots.length) out.push(figure.id + " has no point");
		for (const s of spots) {
			s.scrollIntoView({block: "center"});
			card.hidden = true;
			const r = s.getBoundingClientRect();
			const found = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
			if (found !== s) out.push(figure.id + ": " + s.dataset.name + " is covered by " + (found && found.outerHTML.slice(0, 80)));
			if (r.width < 5 || r.height < 5) out.push(figure.id + ": " + s.dataset.name + " is " + r.width + " by " + r.height);
			s.focus();
			if (document.activeElement !== s || card.hidden || !card.textContent.startsWith(s.dataset.name) || !/[.]\d\d\d/.test(card.textContent)) out.push(figure.id + ": " + s.dataset.name + " shows " + card.textContent);
			const c = card.getBoundingClientRect();
			if (c.left < 0 || c.right > innerWidth) out.push(figure.id + ": the card leaves the window");
			all++;
			stops += s.tabIndex === 0;
		}
	}
	const row = [...document.querySelectorAll("#figure-categories .spot[data-series='3']")].filter(s => s.offsetParent);
	row[0].focus();
	row[0].dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
	if (document.activeElement !== row[1]) out.push("an arrow key leads nowhere");
	const touch = () => row[0].dispatchEvent(new PointerEvent("click", {pointerType: "touch", bubbles: true, cancelable: true}));
	card.hidden = true;
	if (touch() || card.hidden) out.push("a touch does not show a point");
	if (!touch()) out.push("a second touch does not follow the link");
	const text = Math.min(...[...document.querySelectorAll("figure[id] svg")].filter(s => s.clientWidth).flatMap(s => [...s.querySelectorAll("text")].map(t => parseFloat(t.style.fontSize) * s.clientWidth / s.viewBox.baseVal.width)));
	document.documentElement.dataset.result = [all, stops, text, document.documentElement.scrollWidth - innerWidth, out.length + " problems", ...out.slice(0, 5)].join(" | ");
	});</script>`
	for _, width := range []int{1280, 900, 500} {
		got := browsertest.Said(t, open(t, dir, string(html), "", probe, fmt.Sprintf("--window-size=%d,900", width)))
		var all, stops int
		var text, over float64
		if _, err := fmt.Sscanf(got, "%d | %d | %g | %g", &all, &stops, &text, &over); err != nil || !strings.Contains(got, "| 0 problems") {
			t.Errorf("%d pixels: %s, %v", width, got, err)
		}
		// In the front and the differences, the keyboard stops once per row; in the
		// categories, once for all columns of a row.
		if all < 100 || stops < 80 || stops >= all {
			t.Errorf("%d pixels: %d points, %d stops of the tabulator", width, all, stops)
		}
		if text < 10 || over > 0 {
			t.Errorf("%d pixels: the smallest text has %g pixels, the page exceeds the window by %g", width, text, over)
		}
	}
}

// TestCaptions: the caption of a figure with intervals says what they are over.
func TestCaptions(t *testing.T) {
	_, html := write(t)
	for figure, want := range map[string]string{
		"categories": "Bars: 95% over prompts, for these seeds only.", "differences-alignment": "Bars: 95% over prompts, for these seeds only.",
		"front": "small glyphs are single seeds. Grey", // no interval is over seeds, and none is drawn
	} {
		_, rest, _ := strings.Cut(html, `<figure id="figure-`+figure+`">`)
		_, rest, _ = strings.Cut(rest, "<figcaption>")
		if caption, _, _ := strings.Cut(rest, "</figcaption>"); !strings.Contains(caption, want) {
			t.Errorf("the caption of %s is %q, without %q", figure, caption, want)
		}
	}
}

// TestFigures: each figure is written in all its forms, those of a swept axis among them.
func TestFigures(t *testing.T) {
	r := crowded()
	r.Table.Metrics[0].Primary = true
	r.Table.Sweeps = []compare.Sweep{{Arm: "grid", Rows: []int{1, 2, 3}, At: [][]int{{0, 1, 2}},
		Factors: []compare.Factor{{Name: "finetune.beta", Levels: []string{"0", "1", "2"}, Numbers: []float64{0, 1, 2}}}}}
	dir := t.TempDir()
	names, err := page.Figures(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, figure := range []string{"front", "categories", "differences-alignment", "dose-1-beta"} {
		for ext, begins := range map[string]string{".svg": "<?xml", ".png": "\x89PNG", ".pdf": "%PDF"} {
			b, err := os.ReadFile(filepath.Join(dir, figure+ext))
			if err != nil || !strings.HasPrefix(string(b), begins) || !slices.Contains(names, figure+ext) {
				t.Errorf("%s%s: %d bytes, %v", figure, ext, len(b), err)
			}
		}
	}
}
