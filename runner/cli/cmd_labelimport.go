package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/reports/format"
	"ablate/runner/labels"
	"ablate/runner/phrase"
)

type labelimportOptions struct {
	as     string
	output string
	force  bool
	strict bool
	all    bool
	json   bool
}

func (o *labelimportOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.as, "as", "", "`FORMAT` of the files: "+strings.Join(labels.Formats(), ", ")+" (required)")
	f.StringVarP(&o.output, "output", "o", "", "`FILE` to write, as JSONL (required)")
	f.BoolVar(&o.force, "force", false, "overwrite FILE if it exists")
	f.BoolVar(&o.strict, "strict", false, "write nothing if a row is bad")
	f.BoolVar(&o.all, "all", false, "print all bad rows, and not only the first 20")
	f.BoolVar(&o.json, "json", false, "print the summary as JSON")
}

const labelImportFormat = "ablate.label-import/1"

// labelImportDocument is what label import prints as JSON.
type labelImportDocument struct {
	head
	File      string           `json:"file"`      // path of the file that was written, empty if none was
	Rows      int              `json:"rows"`      // rows of the files that were read
	Bad       int              `json:"bad"`       // rows that are bad, and left out
	Unlabeled int              `json:"unlabeled"` // rows that have no label: nobody compared the images, or an image is alone
	Problems  []labels.Problem `json:"problems"`  // the first 20, or all with --all, at most 100000
	Left      []string         `json:"left"`      // columns of the files that are not read
	labels.Summary
}

// mostProblems is the number of problems that are printed without --all.
const mostProblems = 20

func newLabelImport(g *globals) *cobra.Command {
	var o labelimportOptions
	cmd := &cobra.Command{
		Use:   "import FILE... --as FORMAT -o FILE",
		Short: "Read label sets, and write them as one file of this program",
		Long: `Reads label sets, writes them as JSONL, and prints a summary: how many rows, prompts,
images and raters there are, how many labels are good, and how far raters agree.

FORMAT is one of these (docs/labels.md has their columns, sources and licences):
  jsonl, csv    this program's own columns: prompt, image, rater, label, time; or pairs
  tia2          TIA2 of TextNorm: labels of single images
  rapidata      Rapidata: pairs with votes
  hpdv2, hpdv3  HPDv2 and HPDv3: pairs, and ranks of several images
  pick-a-pic    Pick-a-Pic v1 and v2, with and without images: pairs
  imagereward   ImageRewardDB: ranks of several images

Ranks of several images become pairs of each two; equal ranks are ties. Images are not
read. Bad rows are printed by file and line, and left out; with --strict nothing is
written if a row is bad. A file that cannot be read to its end is an error.
` + exitHelp,
		Example: "  ablate label import human_labels_counting.json --as tia2 -o counting.jsonl\n  ablate label import train-*.parquet --as rapidata -o votes.jsonl --strict",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runLabelImport(cmd.Context(), g, o, args) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runLabelImport(ctx context.Context, g *globals, o labelimportOptions, files []string) error {
	switch _, err := os.Stat(o.output); {
	case o.as == "":
		return usagef("label import: name the format of the files with --as: %s", strings.Join(labels.Formats(), ", "))
	case o.output == "":
		return usagef("label import: -o is missing: name the file to write with -o FILE")
	case err == nil && !o.force:
		return usagef("label import: %s exists already; overwrite it with --force, or give another name with -o", o.output)
	}
	in, err := labels.Files(ctx, files, o.as)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return usageError{fmt.Errorf("label import: --as: %w", err)}
	}
	shown := in.Problems
	if !o.all && len(shown) > mostProblems {
		shown = shown[:mostProblems]
	}
	for _, p := range shown {
		if !p.Fatal { // it is the error of the command
			zerolog.Ctx(ctx).Error().Msg(p.String())
		}
	}
	if more := len(in.Problems) - len(shown); more > 0 {
		zerolog.Ctx(ctx).Error().Msgf("%s more; --all prints them", phrase.Count(more, "problem"))
	}
	if in.Unlisted > 0 {
		zerolog.Ctx(ctx).Error().Msgf("%s more are not listed", phrase.Count(in.Unlisted, "problem"))
	}
	doc := labelImportDocument{head: head{labelImportFormat}, File: o.output, Rows: in.Rows, Bad: in.Bad, Unlabeled: in.Unlabeled, Problems: shown, Left: in.Left}
	if doc.Summary, err = in.Summarize(); err != nil {
		return fmt.Errorf("label import: %w", err)
	}
	switch {
	case in.Err() != nil:
		err = fmt.Errorf("label import: nothing is written: %w", in.Err())
	case o.strict && in.Bad > 0:
		err = fmt.Errorf("label import: nothing is written, because %d of %s bad and --strict is set; correct them, or import without --strict", in.Bad, phrase.Are(in.Rows, "row"))
	case doc.Labels == nil && doc.Pairs == nil:
		err = errors.New("label import: the files have no label; check the files and --as")
	default:
		err = writeFile(o.output, in.WriteJSONL)
	}
	if err != nil {
		doc.File = ""
	}
	if o.json {
		return errors.Join(err, printJSON(g.stdout, doc))
	}
	if err != nil {
		return err
	}
	printLabels(g.stdout, doc)
	return nil
}

// printLabels prints the summary of a label set.
func printLabels(w io.Writer, d labelImportDocument) {
	fmt.Fprintf(w, "%s: %s, %d bad\n", d.File, phrase.Count(d.Rows, "row"), d.Bad)
	line := func(name, text string) { fmt.Fprintf(w, "%-10s %s\n", name, text) }
	if d.Unlabeled > 0 {
		line("no label", phrase.Count(d.Unlabeled, "row"))
	}
	line("prompts", fmt.Sprint(d.Prompts))
	line("images", fmt.Sprint(d.Images))
	if d.Raters > 0 {
		line("raters", fmt.Sprint(d.Raters))
	} else {
		line("raters", "not named")
	}
	if l := d.Labels; l != nil {
		line("labels", fmt.Sprintf("%d: %s good, not counting %s", l.Labels, percent(l.Good), phrase.Count(l.Skips, "skip")))
		printAgreement(line, "image", l.Repeats, l.Agreement)
	}
	if p := d.Pairs; p != nil {
		line("pairs", fmt.Sprintf("%d: %s ties, %s", p.Pairs, percent(p.Ties), phrase.Count(p.Votes, "judgement")))
		printAgreement(line, "pair", p.Repeats, p.Agreement)
	}
	if len(d.Left) > 0 {
		line("not read", "the columns "+strings.Join(d.Left, ", "))
	}
	line("digest", d.Digest)
}

func printAgreement(line func(name, text string), item string, repeats int, a *labels.Agreement) {
	if repeats > 0 {
		line("repeats", phrase.Count(repeats, "judgement")+" of raters who had judged the "+item+" before, not in the agreement")
	}
	if a == nil {
		line("agreement", "unknown: no "+item+" has two judgements, or all are equal")
		return
	}
	of := func(x labels.Interval) string {
		return fmt.Sprintf("%s [%s, %s]", format.Number(0, x.Estimate), format.Number(0, x.Low), format.Number(0, x.High))
	}
	text := fmt.Sprintf("Krippendorff's alpha %s; equal %s", of(a.Alpha), of(a.Equal))
	if a.Flips != nil {
		text += "; flips " + of(*a.Flips)
	}
	line("agreement", text+fmt.Sprintf(" (%s with several, 95 %% intervals over prompts)", phrase.Count(a.Items, item)))
}
