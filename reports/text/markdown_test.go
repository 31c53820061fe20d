package text_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"ablate/analysis/gate"
	"ablate/reports/text"
)

// hostileNames maps names that Markdown would change to their escaped forms.
var hostileNames = map[string]string{
	"<b>":          "&lt;b>",
	"&lt;b&gt;":    "&amp;lt;b&amp;gt;",
	"**bold**":     `\*\*bold\*\*`,
	"_it_":         `\_it\_`,
	"~~gone~~":     `\~\~gone\~\~`,
	"`code`":       "\\`code\\`",
	"$x$":          `\$x\$`,
	`back\slash\*`: `back\\slash\\\*`,
	"a * b":        "a * b",
	"two\nlines":   "two lines",
}

// TestMarkdownNames: Markdown shows the names of rows unchanged.
func TestMarkdownNames(t *testing.T) {
	for name, want := range hostileNames {
		tab := ablation()
		tab.Rows[0].Label, tab.Detect[0].Row = name, name
		tab.Front.Left = []string{name}
		var b bytes.Buffer
		if err := text.Markdown(&b, tab); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"\n| " + want + " | .484", "samples is missing: " + want + "."} {
			if !strings.Contains(b.String(), line) {
				t.Errorf("%q: the table lacks %q:\n%s", name, line, b.String())
			}
		}
		b.Reset()
		r := &gate.Result{Study: "s", Outcome: gate.Within, Values: []gate.Value{{Arm: name, Row: name, Verdict: gate.Removed, Reason: "gone"}}, AllowRemoved: true}
		if err := text.CheckMarkdown(&b, r, false); err != nil || !strings.Contains(b.String(), "\n| "+want+" ") {
			t.Errorf("%q: %v\n%s", name, err, b.String())
		}
	}
}

// TestMarkdownBlocks: a name at the beginning of a list entry starts no other block.
func TestMarkdownBlocks(t *testing.T) {
	for name, want := range map[string]string{"# heading": `\# heading`, "- item": `\- item`, "* item": `\* item`, "+ item": `\+ item`, "> quoted": `\> quoted`, "1. first": `1\. first`, "12) twelfth": `12\) twelfth`, "=": `\=`, "a - b": "a - b", "1.5": `1\.5`} {
		var b bytes.Buffer
		r := &gate.Result{Study: "s", Outcome: gate.Within, Values: []gate.Value{{Arm: name, Row: name, Metric: "alignment", Verdict: gate.Inconclusive, Reason: "few"}}}
		if err := text.CheckMarkdown(&b, r, false); err != nil || !strings.Contains(b.String(), fmt.Sprintf("\n- %s, alignment: few.\n", want)) {
			t.Errorf("%q: %v\n%s", name, err, b.String())
		}
	}
}
