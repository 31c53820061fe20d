package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"ablate/analysis/gate"
	"ablate/reports/text"
)

type checkFlags struct {
	studyFlags
	baseline, md, junit, explain, inconclusive string
	only, seeds                                []string
	allowRemoved, json                         bool
}

func newCheck(g *globals) *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check STUDY --baseline FILE",
		Short: "Hold a study's table against a baseline, for CI",
		Long: `Compares every guarded metric of every row with a baseline that 'ablate baseline'
wrote, running nothing. What is guarded, and how much worse it may be, the
study says in gate; by default alignment, alignment.unseen, fidelity.recall and
fidelity.frechet, each within the noise of the baseline's seeds.

Exit code 0: every figure is identical or within its tolerance. 3: one is worse
beyond its tolerance and the seeds suffice to say so, or the study has dropped
a row or a seed, or a figure whose value changes with its number of samples stands
on another number than the baseline's. 4: one is worse beyond its tolerance, and the
seeds do not suffice to say whether by chance. 1: a selected trial has no result, or
the baseline lacks a value that the study guards, or nothing was compared, or an
error.` + onlyHelp + `
`,
		Example: "  ablate check experiments/quickstart --baseline baseline.json\n  ablate check experiments/quickstart --baseline baseline.json --only 'all data' --seed 1 --md summary.md --junit junit.xml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.baseline == "" {
				return usagef("check: --baseline FILE is missing; 'ablate baseline %s -o FILE' writes one", args[0])
			}
			if f.inconclusive != "fail" && f.inconclusive != "pass" {
				return usagef("check: --inconclusive is %q; must be fail or pass", f.inconclusive)
			}
			b, err := readBaseline(f.baseline)
			if err != nil {
				return err
			}
			r, err := g.results(cmd.Context(), args[0], f.studyFlags)
			if err != nil {
				return err
			}
			if err := r.damage(); err != nil {
				return err
			}
			l := r.l
			// What the study has dropped is selected as well: the baseline has it.
			rows, only := rowsOf(l.Study), []string(nil)
			for _, row := range b.Rows {
				rows = append(rows, tableRow{arm: row.Arm, label: row.Row})
			}
			for _, name := range f.only {
				found, err := selectRows(rows, l.Name, name)
				if err != nil {
					return err
				}
				only = append(only, found...)
			}
			o := gate.Options{Only: only, Seeds: f.seeds, AllowRemoved: f.allowRemoved, Study: l.Name, Made: r.made()}
			for _, t := range l.Gate {
				o.Tolerances = append(o.Tolerances, gate.Tolerance{Metric: t.Metric, Absolute: t.Absolute, Relative: t.Relative, Seeds: t.Seeds})
			}
			result, err := gate.Check(b, r.ablation, o)
			if err != nil {
				return usagef("check: %w", err)
			}
			return g.printCheck(result, f)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.baseline, "baseline", "", "the `FILE` to compare with")
	fl.StringArrayVar(&f.only, "only", nil, "check this `ARM` only, a group, a pattern or points of a sweep (repeatable)")
	fl.StringArrayVar(&f.seeds, "seed", nil, "check this seed `S` only (repeatable)")
	fl.BoolVar(&f.allowRemoved, "allow-removed", false, "an arm or a seed that the study has dropped is no regression")
	fl.StringVar(&f.inconclusive, "inconclusive", "fail", "`pass` or fail: the exit code where seeds do not suffice to say, 0 or 4")
	fl.StringVar(&f.md, "md", "", "write a summary in Markdown to `FILE`")
	fl.StringVar(&f.junit, "junit", "", "write the figures as JUnit XML to `FILE`")
	fl.StringVar(&f.explain, "explain", "", "show this `ARM`'s figures seed by seed")
	fl.BoolVar(&f.json, "json", false, "print the check as JSON")
	return cmd
}

func readBaseline(name string) (*gate.Baseline, error) {
	const most = 64 << 20   // of 80,000 rows with four metrics of three seeds
	f, err := os.Open(name) // it may be a pipe
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer f.Close()
	in, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	if len(in) > most {
		return nil, fmt.Errorf("baseline %s: it has more than %d bytes, which no baseline has: give the file that 'ablate baseline' wrote", name, most)
	}
	b, err := gate.Read(in)
	if err != nil {
		return nil, fmt.Errorf("baseline %s: %w", name, err)
	}
	return b, nil
}

// made says with what the results of a study were computed.
func (r *results) made() gate.Made {
	p := r.l.provenance(r)
	return gate.Made{Backend: r.class, Versions: p.Versions, CPUs: p.CPUs}
}

// printCheck prints a check, writes its files and returns what its outcome means.
func (g *globals) printCheck(r *gate.Result, f checkFlags) error {
	pass := f.inconclusive == "pass"
	for _, out := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{f.md, func(w io.Writer) error { return text.CheckMarkdown(w, r, pass) }},
		{f.junit, func(w io.Writer) error { return text.CheckJUnit(w, r, pass) }},
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
	case f.json:
		e := json.NewEncoder(g.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	case f.explain != "":
		err = text.CheckExplain(g.stdout, r, f.explain, width)
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
		if f.json || f.explain != "" { // the table and the summary say so themselves
			fmt.Fprintf(g.stderr, "ablate: %v: passed because --inconclusive=pass\n", verdict)
		}
	}
	return nil
}

// writeFile writes a file whole or not at all; what is not a regular file, such
// as /dev/stdout, is opened in place.
func writeFile(name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	t, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer t.Cleanup()
	if err := write(t); err != nil {
		return err
	}
	return t.CloseAtomicallyReplace()
}

func newBaseline(g *globals) *cobra.Command {
	var f studyFlags
	var out string
	cmd := &cobra.Command{
		Use:   "baseline STUDY [-o FILE]",
		Short: "Write the baseline that 'ablate check' compares with",
		Long: `Writes the guarded metrics of a study's rows as JSON, a value a line: mean, number
of seeds, every seed's value, trial ids, and the versions that made them. Commit
it beside the study, and read the diff when it changes.
` + exitHelp,
		Example: "  ablate baseline experiments/quickstart -o baseline.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := g.results(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			if err := r.damage(); err != nil {
				return err
			}
			l := r.l
			var missing, metrics []string
			for _, row := range r.ablation.Rows {
				for _, s := range row.Seeds {
					if !row.Has(s) {
						missing = append(missing, row.Label+"@"+s)
					}
				}
			}
			if len(missing) > 0 {
				return fmt.Errorf("baseline: study %s has no results of %s: run 'ablate run %s' first", l.Name, strings.Join(missing, ", "), args[0])
			}
			for _, t := range l.Gate {
				metrics = append(metrics, t.Metric)
			}
			b, err := gate.New(l.Name, r.made(), r.ablation, metrics)
			if err != nil {
				return fmt.Errorf("baseline: %w", err)
			}
			if out == "" {
				return b.Write(g.stdout)
			}
			return writeFile(out, b.Write)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to `FILE` instead of stdout")
	return cmd
}
