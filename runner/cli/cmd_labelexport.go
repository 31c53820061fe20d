package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/labels"
)

type labelexportOptions struct {
	as     string
	output string
	force  bool
}

func (o *labelexportOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.as, "as", "csv", "`FORMAT` to write: csv or jsonl")
	f.StringVarP(&o.output, "output", "o", "", "`FILE` to write (default: standard output)")
	f.BoolVar(&o.force, "force", false, "overwrite FILE if it exists")
}

func newLabelExport(g *globals) *cobra.Command {
	var o labelexportOptions
	cmd := &cobra.Command{
		Use:   "export LABELS",
		Short: "Write a label set as CSV or JSONL",
		Long: `Writes a file of 'ablate label import' as CSV or JSONL, with a row for each label and each
pair (docs/labels.md has the columns). 'ablate label import' reads both again, with the
same digest.
` + exitHelp,
		Example: "  ablate label export counting.jsonl --as csv -o counting.csv",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runLabelExport(cmd.Context(), g, o, args[0]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runLabelExport(ctx context.Context, g *globals, o labelexportOptions, file string) error {
	if _, err := os.Stat(o.output); o.output != "" && err == nil && !o.force {
		return usagef("label export: %s exists already; overwrite it with --force, or give another name with -o", o.output)
	}
	in, err := labels.Files(ctx, []string{file}, "jsonl")
	if err != nil {
		return err
	}
	if len(in.Problems) > 0 {
		return fmt.Errorf("label export: %s; import the file again", in.Problems[0])
	}
	write := in.WriteCSV
	switch o.as {
	case "csv":
	case "jsonl":
		write = in.WriteJSONL
	default:
		return usagef("label export: --as is %q; allowed: csv, jsonl", o.as)
	}
	if o.output == "" {
		return write(g.stdout.raw)
	}
	return writeFile(o.output, write)
}
