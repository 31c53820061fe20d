package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/experiments/language"
	"ablate/runner/checkup"
	"ablate/runner/phrase"
	"ablate/runner/result"
)

type vetOptions struct {
	studyOptions
	json bool
}

func (o *vetOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.BoolVar(&o.json, "json", false, "print findings and mistakes as JSON")
}

const vetFormat = "ablate.vet/1"

// vetDocument is what vet prints as JSON.
type vetDocument struct {
	head
	OK         bool                  `json:"ok"` // whether there are no mistakes
	Findings   []checkup.Finding     `json:"findings"`
	Mistakes   []*language.Error     `json:"mistakes"`   // in the order of the files
	Confounded []language.Confounded `json:"confounded"` // arms that differ from the reference in more than one factor
}

func newVet(g *globals) *cobra.Command {
	var o vetOptions
	cmd := &cobra.Command{
		Use:   "vet STUDY",
		Short: "Check a study for mistakes before anything runs",
		Long: `Checks the study and reports all mistakes at once, each with its file, line and column.
It also checks the checkpoints that the study reads (configurations and weights), and
whether the device has the least memory that the study needs, and names folders of pictures
that a run needs and that are missing. It lists the arms that
differ from the reference in more than one factor: they are allowed, but their
differences cannot be attributed to one factor.
` + exitHelp,
		Example: "  ablate vet experiments/quickstart",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runVet(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runVet(ctx context.Context, g *globals, o vetOptions, path string) error {
	study, list, err := vet(ctx, g, o, path)
	var mistakes *language.Errors
	if o.json && (err == nil || errors.As(err, &mistakes)) {
		// The object has the same fields with and without mistakes.
		out := vetDocument{head{vetFormat}, err == nil, list, []*language.Error{}, []language.Confounded{}}
		if out.Findings == nil {
			out.Findings = []checkup.Finding{}
		}
		if study != nil {
			out.Confounded = append(out.Confounded, study.Confounded...)
		}
		if mistakes != nil {
			out.Mistakes = mistakes.List
		}
		if jerr := printJSON(g.stdout, out); jerr != nil || err == nil {
			return jerr
		}
		return printedError{err}
	}
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.OK {
			fmt.Fprintf(g.stdout, "ok  %-11s %s\n", f.What, f.Detail)
		} else {
			fmt.Fprintf(g.stdout, "-   %-11s %s: %s\n", f.What, f.Detail, f.Do)
		}
	}
	printConfounded(g.stdout, study)
	return nil
}

// printConfounded lists the arms that differ from the reference in several factors.
func printConfounded(w io.Writer, s *language.Study) {
	if len(s.Confounded) == 0 {
		return
	}
	fmt.Fprintf(w, "\nThese differ from %q in more than one factor, so their differences cannot be attributed to one factor:\n", s.Reference)
	for _, c := range s.Confounded {
		fmt.Fprintf(w, "  %s\n", c)
	}
}

// vet checks a study. The study is nil if it could not be read.
func vet(ctx context.Context, g *globals, o vetOptions, path string) (*language.Study, []checkup.Finding, error) {
	p, err := g.open(ctx, path, o.studyOptions)
	if err != nil {
		return nil, nil, err
	}
	if p.Study.Imported != nil {
		r, in, err := result.Import(ctx, p)
		if in != nil {
			g.problems(ctx, in)
		}
		if err != nil {
			return p.Study, nil, err
		}
		return p.Study, []checkup.Finding{{What: "imported", Detail: fmt.Sprintf("%s: %s, %s", p.Study.Name, phrase.Count(len(in.Runs), "run"), phrase.Count(len(r.Ablation.Rows), "row"))}}, nil
	}
	list, err := checkup.Study(ctx, p, o.backend)
	return p.Study, list, err
}
