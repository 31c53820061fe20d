package text_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"ablate/analysis/gate"
	"ablate/reports/text"
)

// result is a check of n rows: one regression, one inconclusive, one missing,
// one removed, names that are hostile or long, the others within.
func result(n int) *gate.Result {
	r := &gate.Result{Study: "s|<b>", Outcome: gate.Regression, Added: []string{"new"}, Removed: []string{"gone"}, Notes: []string{"A note."}}
	bound := .1
	for i := range n {
		f := gate.Value{Arm: fmt.Sprint("arm ", i), Row: fmt.Sprintf("arm %d[finetune.beta=0.5,finetune.learningRate=0.001]", i), Metric: "alignment", Verdict: gate.Within, Baseline: .5, Now: .45, Worse: .05, Margin: .06, N: 3,
			Pairs: []gate.Pair{{Seed: "1", Trial: "abc", Now: "def", Baseline: .5, Value: .45}}}
		switch i {
		case 0:
			f.Verdict, f.Bound, f.Row = gate.Regression, &bound, "arm <i>|\x01"
		case 1:
			f.Verdict, f.Reason = gate.Inconclusive, "3 seeds, and gate asks for 5"
		case 2:
			f.Verdict, f.Reason = gate.Missing, "no result for seed 3"
		case 3:
			f = gate.Value{Arm: "gone", Row: "gone", Verdict: gate.Removed}
		case 4:
			f.Verdict, f.Reason, f.Worse = gate.Incomparable, "80 samples now, 200 in the baseline", 0
		}
		r.Values = append(r.Values, f)
	}
	return r
}

func TestCheck(t *testing.T) {
	var b bytes.Buffer
	for _, width := range []int{80, 120} {
		b.Reset()
		if err := text.CheckTerminal(&b, result(60), false, width, true); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > width {
				t.Errorf("width %d: a line of %d: %s", width, utf8.RuneCountInString(line), line)
			}
		}
	}
	for _, want := range []string{"Regression.", "20 more", "New rows, which the baseline lacks: new.", "dropped: gone", "A note.", "no result for seed 3", "80 samples", "1 not comparable"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the terminal does not say %q:\n%s", want, b.String())
		}
	}
	// In a log no name is shortened, and each value's verdict is in its line.
	b.Reset()
	long := result(3)
	long.Values[0].Row = "beta[finetune.beta=0.5,finetune.learningRate=0.0001]"
	if err := text.CheckTerminal(&b, long, false, 80, false); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^beta\[finetune.beta=0.5,finetune.learningRate=0.0001\] .*` + regexp.QuoteMeta(string(long.Values[0].Verdict))).MatchString(b.String()) {
		t.Errorf("a log has\n%s", b.String())
	}
	b.Reset()
	if err := text.CheckMarkdown(&b, result(5000), false); err != nil {
		t.Fatal(err)
	}
	if b.Len() >= 65000 || !strings.Contains(b.String(), "none worse than these") || strings.Contains(b.String(), "<b>") || !strings.Contains(b.String(), `arm &lt;i>\|`) {
		t.Errorf("Markdown of %d bytes:\n%.1500s", b.Len(), b.String())
	}
	if strings.Index(b.String(), "regression") > strings.Index(b.String(), "| within") {
		t.Error("the worst is not first")
	}
	b.Reset()
	if err := text.CheckExplain(&b, result(9), "arm 5", 80); err != nil || !strings.Contains(b.String(), "−.050") {
		t.Errorf("explained: %v\n%s", err, b.String())
	}
	if err := text.CheckExplain(&b, result(9), "nobody", 80); err == nil {
		t.Error("an arm that is not there is explained")
	}
}

// TestNothingChecked: if the study and the baseline share no value, the result is not "No
// regression".
func TestNothingChecked(t *testing.T) {
	r := &gate.Result{Study: "s", Outcome: gate.Missing, Notes: []string{"Why."}, Values: []gate.Value{{Arm: "a", Row: "a", Metric: "alignment", Verdict: gate.Unchecked}}}
	var b bytes.Buffer
	if err := text.CheckTerminal(&b, r, false, 80, true); err != nil || !strings.Contains(b.String(), "Nothing was compared.") {
		t.Errorf("a check of nothing: %v\n%s", err, b.String())
	}
	b.Reset() // a CI system that reads only JUnit must not show the check as passed
	if err := text.CheckJUnit(&b, r, false); err != nil || !strings.Contains(b.String(), `tests="2" failures="0" errors="1" skipped="1"`) || !strings.Contains(b.String(), "Nothing was compared. Why.") {
		t.Errorf("a check of nothing as JUnit: %v\n%s", err, b.String())
	}
	r.Values[0].Verdict = gate.Absent
	for what, f := range map[string]func(*bytes.Buffer) error{
		"a terminal": func(b *bytes.Buffer) error { return text.CheckTerminal(b, r, false, 80, true) },
		"Markdown":   func(b *bytes.Buffer) error { return text.CheckMarkdown(b, r, false) },
		"JUnit":      func(b *bytes.Buffer) error { return text.CheckJUnit(b, r, false) },
	} {
		b.Reset()
		if err := f(&b); err != nil || !strings.Contains(b.String(), "not in the baseline") {
			t.Errorf("what the baseline lacks, for %s: %v\n%s", what, err, b.String())
		}
	}
}

func TestJUnit(t *testing.T) {
	for _, pass := range []bool{false, true} {
		var b bytes.Buffer
		if err := text.CheckJUnit(&b, result(9), pass); err != nil {
			t.Fatal(err)
		}
		var suite struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Skipped  int `xml:"skipped,attr"`
			Cases    []struct {
				Class   string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
			} `xml:"testcase"`
		}
		if err := xml.Unmarshal(b.Bytes(), &suite); err != nil {
			t.Fatalf("%v:\n%s", err, b.String())
		}
		failures := map[bool]int{false: 4, true: 3}[pass] // the regression, what is removed, not comparable, and inconclusive
		if suite.Tests != 9 || len(suite.Cases) != 9 || suite.Failures != failures || suite.Errors != 1 || suite.Skipped != 4-failures || suite.Cases[0].Failure == nil || suite.Cases[0].Class != "arm <i>|" {
			t.Errorf("pass %v: %+v", pass, suite)
		}
	}
	r := result(9)
	r.AllowRemoved = true // beside a regression too
	var b bytes.Buffer
	if err := text.CheckJUnit(&b, r, false); err != nil || !strings.Contains(b.String(), `failures="3" errors="1" skipped="1"`) {
		t.Errorf("a removed arm that may go: %v\n%.200s", err, b.String())
	}
}
