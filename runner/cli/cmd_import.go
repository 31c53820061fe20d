package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/experiments/language"
	"ablate/runner/imported"
	"ablate/runner/module"
	"ablate/runner/phrase"
	"ablate/runner/result"
)

type importOptions struct {
	study string
	from  language.Imported
	force bool
	json  bool
}

func (o *importOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.study, "study", "", "`NAME` of the study to make, in the folder imported/NAME (required)")
	f.StringVar(&o.from.Format, "format", "", "`FORMAT` of the files: csv, jsonl, parquet, wandb, tensorboard or hydra (default: recognised for each file)")
	f.StringToStringVar(&o.from.Columns, "columns", nil, "names of columns in the files: `ROLE=NAME`, for example arm=method,seed=random_seed")
	f.StringSliceVar(&o.from.Axes, "axes", nil, "`COLUMNS` with the values of swept parameters, besides those named axis.NAME")
	f.StringSliceVar(&o.from.Only, "metrics", nil, "read only these `METRICS` (default: all)")
	f.StringSliceVar(&o.from.Ignore, "ignore", nil, "`COLUMNS` and metrics to leave out")
	f.StringVar(&o.from.Pattern, "pattern", "", "`REGEXP` with the groups arm and seed, which finds both in the folder or name of a run")
	f.StringVar(&o.from.File, "file", "", "`NAME` of the file with the metrics of a Hydra job")
	f.BoolVar(&o.from.Unfinished, "unfinished", false, "also read runs that crashed or are still running")
	f.BoolVar(&o.force, "force", false, "overwrite the study's file if it exists")
	f.BoolVar(&o.json, "json", false, "print a summary of what was read as JSON")
}

const importFormat = "ablate.import/1"

// importDocument is what import prints as JSON.
type importDocument struct {
	head
	File    string   `json:"file"`  // path of the study file that was made
	Study   string   `json:"study"` // folder of that file, the argument STUDY of other commands
	Runs    int      `json:"runs"`
	Rows    int      `json:"rows"` // number of rows of the ablation table
	Metrics []string `json:"metrics"`
	Notes   []string `json:"notes"` // how the files were understood, as sentences
}

func newImport(g *globals) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE... --study NAME",
		Short: "Make a study of results that other tools have computed",
		Long: `Makes imported/NAME/study.cue, a study of results that other tools have computed. FILE
is one of these:
  - CSV, JSONL or Parquet with a row per arm, seed and metric (columns arm, seed, metric
    and value), a row per run (arm, seed and a column per metric), or a row per image
    (arm, seed, prompt and columns of scores)
  - an export of W&B, a folder of TensorBoard event files, or a Hydra multirun
Three more columns are read: axis.NAME has the values of a swept parameter, n the number
of samples behind a value, and image the path of a picture, relative to the folder of
FILE. The report shows one picture per run and prompt.

'ablate table', 'report', 'baseline' and 'check' then work on the study, and read the
files where they are. The files do not contain the range of a metric and whether higher
values are better: both are guessed. study.cue lists the guesses; correct them there.

If a row cannot be read, its file and line are printed, and no study is made.
` + exitHelp,
		Example: "  ablate import runs.csv --study sweep7\n  ablate table imported/sweep7\n  ablate import wandb.csv --study old --columns arm=Name --axes lr",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runImport(cmd.Context(), g, o, args) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

var studyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func runImport(ctx context.Context, g *globals, o importOptions, files []string) error {
	if o.study == "" {
		return usagef("import: name the study with --study, as in 'ablate import runs.csv --study sweep7'")
	}
	if !studyName.MatchString(o.study) {
		return usagef("import: --study is %q; it must be letters, digits, dots, - and _, and begin with a letter or digit", o.study)
	}
	file := filepath.Join("imported", o.study, "study.cue")
	if _, err := os.Stat(file); err == nil && !o.force {
		return usagef("import: %s exists already; overwrite it with --force, or give another name with --study", file)
	}
	if o.from.Pattern != "" {
		if _, err := regexp.Compile(o.from.Pattern); err != nil {
			return usagef("import: --pattern: %v", err)
		}
	}
	in, err := imported.Read(ctx, files, result.ImportOptions(&o.from))
	if err != nil {
		return usageError{fmt.Errorf("import: %w", err)}
	}
	g.problems(ctx, in)
	if err := in.Err(); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if len(in.Runs) == 0 {
		return errors.New("import: the files contain no run; check the paths and the options")
	}
	if err := g.ensureModule(); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	text, err := studyFile(o, files, in)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		return err
	}
	arms := map[string]bool{}
	for _, r := range in.Runs {
		arms[in.Row(r)] = true
	}
	if o.json {
		return printJSON(g.stdout, importDocument{head{importFormat}, file, filepath.Dir(file), len(in.Runs), len(arms), metricNames(in), in.Notes})
	}
	fmt.Fprintf(g.stdout, "%s: %s of %s, %s\n", file, phrase.Count(len(in.Runs), "run"), phrase.Count(len(arms), "row"), phrase.Count(len(in.Metrics), "metric"))
	for _, n := range in.Notes {
		fmt.Fprintln(g.stdout, n)
	}
	fmt.Fprintf(g.stdout, "\nnext:\n  ablate table %s\n  ablate report %s\n", filepath.Dir(file), filepath.Dir(file))
	return nil
}

// problems logs the problems that an import found in its files.
func (g *globals) problems(ctx context.Context, in *imported.Results) {
	log := zerolog.Ctx(ctx)
	for _, p := range in.Problems.List {
		if p.Kind.Warning() {
			log.Warn().Msg(p.String())
		} else {
			log.Error().Msg(p.String())
		}
	}
	for kind, n := range in.Problems.Unlisted {
		log.Warn().Msgf("%s: %d more problems of this kind", kind, n)
	}
}

// ensureModule makes the working folder a CUE module, unless it lies in one already.
func (g *globals) ensureModule() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if in, err := moduleFolder(dir); in != "" || err != nil {
		return err
	}
	fmt.Fprintf(g.stderr, "ablate: neither this folder nor one above it contains cue.mod: it is made here\n")
	return module.Bare(".", "example.com/imported")
}

func metricNames(in *imported.Results) []string {
	names := []string{}
	for _, m := range in.Metrics {
		names = append(names, m.Name)
	}
	return names
}

// references are names that people often give the arm with which others are compared.
var references = []string{"base", "baseline", "reference", "control", "pretrained", "default"}

// studyFile returns the text of the CUE file of a study of imported results.
func studyFile(o importOptions, files []string, in *imported.Results) (string, error) {
	var b strings.Builder
	pkg := regexp.MustCompile(`[^A-Za-z0-9_]`).ReplaceAllString(o.study, "_")
	if pkg[0] >= '0' && pkg[0] <= '9' {
		pkg = "s" + pkg
	}
	fmt.Fprintf(&b, "// Results that other tools computed, as 'ablate import' read them.\npackage %s\n\nimport \"ablate.internal/schema\"\n\nschema.#Imported & {\n\ttitle: %s\n\n\tfrom: {\n\t\tfiles: [", pkg, strconv.Quote(o.study))
	for i, f := range files {
		if !filepath.IsAbs(f) {
			f = filepath.ToSlash(filepath.Join("..", "..", f))
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(f))
	}
	b.WriteString("]\n")
	for _, x := range []struct{ name, value string }{{"format", o.from.Format}, {"pattern", o.from.Pattern}, {"file", o.from.File}} {
		if x.value != "" {
			fmt.Fprintf(&b, "\t\t%s: %s\n", x.name, strconv.Quote(x.value))
		}
	}
	for _, x := range []struct {
		name string
		list []string
	}{{"axes", o.from.Axes}, {"only", o.from.Only}, {"ignore", o.from.Ignore}} {
		if len(x.list) > 0 {
			fmt.Fprintf(&b, "\t\t%s: [%s]\n", x.name, quoted(x.list))
		}
	}
	for _, role := range sortedKeys(o.from.Columns) {
		fmt.Fprintf(&b, "\t\tcolumns: %s: %s\n", strconv.Quote(role), strconv.Quote(o.from.Columns[role]))
	}
	if o.from.Unfinished {
		b.WriteString("\t\tunfinished: true\n")
	}
	b.WriteString("\t}\n\n\t// Guesses about the metrics. Correct a line and remove its // to declare it; tables then no\n\t// longer say that it is guessed.\n\tmetrics: {\n")
	for _, m := range in.Metrics {
		fmt.Fprintf(&b, "\t\t// %s: {range: %s", strconv.Quote(m.Name), strconv.Quote(string(m.Range)))
		if m.Better != "" {
			fmt.Fprintf(&b, ", better: %s", strconv.Quote(m.Better))
		}
		b.WriteString("}\n")
	}
	reference := in.Arms[0]
	for _, arm := range in.Arms {
		if slices.Contains(references, strings.ToLower(arm)) {
			reference = arm
			break
		}
	}
	fmt.Fprintf(&b, "\t}\n\n\tcompare: reference: %s\n}\n", strconv.Quote(reference))
	return b.String(), nil
}

func quoted(list []string) string {
	var q []string
	for _, s := range list {
		q = append(q, strconv.Quote(s))
	}
	return strings.Join(q, ", ")
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
