package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/analysis/gate"
	"ablate/reports/text"
	"ablate/runner/result"
	"ablate/runner/selection"
)

type checkOptions struct {
	studyOptions
	scope                                      result.Scope
	baseline, md, junit, explain, inconclusive string
	json                                       bool
}

func (o *checkOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.StringVar(&o.baseline, "baseline", "", "the `FILE` to compare with")
	f.StringArrayVar(&o.scope.Only, "only", nil, "check this `ARM` only, a group, a pattern or points of a sweep (repeatable)")
	f.StringArrayVar(&o.scope.Seeds, "seed", nil, "check this seed `S` only (repeatable)")
	f.BoolVar(&o.scope.AllowRemoved, "allow-removed", false, "do not count an arm or a seed that the study has dropped as a regression")
	f.StringVar(&o.inconclusive, "inconclusive", "fail", "`pass` or fail: exit with 0 or with 4 where there are too few seeds to decide")
	f.StringVar(&o.md, "md", "", "write a summary in Markdown to `FILE`")
	f.StringVar(&o.junit, "junit", "", "write the values as JUnit XML to `FILE`")
	f.StringVar(&o.explain, "explain", "", "show this `ARM`'s values seed by seed")
	f.BoolVar(&o.json, "json", false, "print the check as JSON")
}

const checkFormat = "ablate.check/1"

// checkDocument is what check prints as JSON.
type checkDocument struct {
	head
	*gate.Result
}

func newCheck(g *globals) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check STUDY --baseline FILE",
		Short: "Compare a study's table with a baseline, for CI",
		Long: `Compares every guarded metric of every row with a baseline that 'ablate baseline'
wrote, running nothing. The study's gate names the guarded metrics and the margin by
which each may be worse; by default alignment, alignment.unseen, fidelity.recall and
fidelity.frechet, with a margin of 0. Values are compared seed by seed by a one-sided
test, corrected over all values that differ (analysis/gate/README.md has its error
rates). With one or two seeds only a large drop can be found.

Exit code 0: no value is significantly worse than its margin. 3: one is (corrected p
below 5%), or the study has dropped a row or a seed, or a value that depends on the
number of samples has another number than the baseline. 4: a corrected p is between 5
and 10%, or the standard deviation over seeds is not known: run more seeds. 1: a
selected trial has no result, or the baseline lacks a value that the study guards, or
nothing was compared, or an error.` + selection.Help + `
`,
		Example: "  ablate check experiments/quickstart --baseline baseline.json\n  ablate check experiments/quickstart --baseline baseline.json --only 'all data' --seed 1 --md summary.md --junit junit.xml",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runCheck(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runCheck(ctx context.Context, g *globals, o checkOptions, path string) error {
	if o.baseline == "" {
		return usagef("check: --baseline FILE is missing; 'ablate baseline %s -o FILE' writes one", path)
	}
	if o.inconclusive != "fail" && o.inconclusive != "pass" {
		return usagef("check: --inconclusive is %q; must be fail or pass", o.inconclusive)
	}
	b, err := result.ReadBaseline(o.baseline)
	if err != nil {
		return err
	}
	r, err := g.results(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	if err := r.Damage(); err != nil {
		return err
	}
	c, err := r.Check(b, o.scope)
	if err != nil {
		return usageError{err}
	}
	return g.printCheck(c, o)
}

// printCheck prints a check, writes its files and returns what its outcome means.
func (g *globals) printCheck(r *gate.Result, o checkOptions) error {
	pass := o.inconclusive == "pass"
	for _, out := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{o.md, func(w io.Writer) error { return text.CheckMarkdown(w, r, pass) }},
		{o.junit, func(w io.Writer) error { return text.CheckJUnit(w, r, pass) }},
	} {
		if out.name == "" {
			continue
		}
		if err := writeFile(out.name, out.write); err != nil {
			return err
		}
	}
	width, _ := terminal(g.stdout)
	var err error
	switch {
	case o.json:
		err = printJSON(g.stdout, checkDocument{head{checkFormat}, r})
	case o.explain != "":
		err = text.CheckExplain(g.stdout, r, o.explain, width)
	default:
		err = text.CheckTerminal(g.stdout, r, pass, width)
	}
	if err != nil {
		return err
	}
	verdict := errors.New("check: " + text.CheckSummary(r))
	switch r.Outcome {
	case gate.Missing:
		return verdict
	case gate.Regression, gate.Incomparable:
		return differenceError{verdict}
	case gate.Inconclusive:
		if !pass {
			return inconclusiveError{verdict}
		}
		if o.json || o.explain != "" { // the table and the summary have it themselves
			fmt.Fprintf(g.stderr, "ablate: %v: passed because --inconclusive=pass\n", verdict)
		}
	}
	return nil
}
