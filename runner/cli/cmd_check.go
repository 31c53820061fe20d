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
	f.StringVar(&o.baseline, "baseline", "", "the baseline `FILE` to compare with")
	f.StringArrayVar(&o.scope.Only, "only", nil, "check only this `ARM`, group of arms, pattern or points of a sweep (repeatable)")
	f.StringArrayVar(&o.scope.Seeds, "seed", nil, "check only this seed `S` (repeatable)")
	f.BoolVar(&o.scope.AllowRemoved, "allow-removed", false, "allow that the study has dropped arms or seeds of the baseline")
	f.StringVar(&o.inconclusive, "inconclusive", "fail", "`pass|fail`: exit with 0 or with 4 if there are too few seeds to decide")
	f.StringVar(&o.md, "md", "", "write a Markdown summary to `FILE`")
	f.StringVar(&o.junit, "junit", "", "write the values as JUnit XML to `FILE`")
	f.StringVar(&o.explain, "explain", "", "print the values of this `ARM` seed by seed")
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
		Long: `Compares every guarded metric of every row with a baseline, a file that 'ablate baseline'
wrote. Nothing is run. The study's field gate names the guarded metrics and the margin
by which each may be worse; by default they are alignment, alignment.unseen,
fidelity.recall and fidelity.frechet, with a margin of 0. Values are paired by seed and
compared by a one-sided test, corrected over all values that differ
(analysis/gate/README.md lists its error rates). With one or two seeds only a large drop
can be found.

Exit codes:
  0  no value is significantly worse than its margin allows
  1  a selected trial has no result, the baseline lacks a value that the study guards,
     nothing was compared, or there was an error
  2  wrong command line
  3  a value is significantly worse (corrected p below 5%), the study has dropped a row
     or a seed, or a metric that depends on the number of samples has another number of
     samples than in the baseline
  4  a corrected p is between 5% and 10%, or the standard deviation over seeds is not
     known: run more seeds
  130  interrupted` + selection.Help + `
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
	width, tty := terminal(g.stdout)
	var err error
	switch {
	case o.json:
		err = printJSON(g.stdout, checkDocument{head{checkFormat}, r})
	case o.explain != "":
		err = text.CheckExplain(g.stdout, r, o.explain, width)
	default:
		err = text.CheckTerminal(g.stdout, r, pass, width, tty)
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
