package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	f.StringVar(&o.study, "study", "", "`NAME` of the study to make: a folder below imported/")
	f.StringVar(&o.from.Format, "format", "", "`FORMAT` of the files: csv, jsonl, parquet, wandb, tensorboard or hydra (default: as each looks)")
	f.StringToStringVar(&o.from.Columns, "columns", nil, "other names of columns: `ROLE=NAME`, as in arm=method,seed=random_seed")
	f.StringSliceVar(&o.from.Axes, "axes", nil, "further `COLUMNS` that are axes")
	f.StringSliceVar(&o.from.Only, "metrics", nil, "the `METRICS` to read (default: all)")
	f.StringSliceVar(&o.from.Ignore, "ignore", nil, "`COLUMNS` and metrics not to read")
	f.StringVar(&o.from.Pattern, "pattern", "", "`REGEXP` with the groups arm and seed, for folders or names of runs")
	f.StringVar(&o.from.File, "file", "", "`NAME` of the file with the metrics of a Hydra job")
	f.BoolVar(&o.from.Unfinished, "unfinished", false, "read runs that crashed or still run, too")
	f.BoolVar(&o.force, "force", false, "write the study's file again where it is there")
	f.BoolVar(&o.json, "json", false, "print what was read as JSON")
}

const importFormat = "ablate.import/1"

// importDocument is what import prints as JSON.
type importDocument struct {
	head
	File    string   `json:"file"`  // of the study that was made
	Study   string   `json:"study"` // its folder, by which other commands take it
	Runs    int      `json:"runs"`
	Rows    int      `json:"rows"` // of the ablation table
	Metrics []string `json:"metrics"`
	Notes   []string `json:"notes"` // what a reader must know of how the files were read
}

func newImport(g *globals) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE... --study NAME",
		Short: "Make a study of results that other tools computed",
		Long: `Makes imported/NAME/study.cue, a study of results that are in files of other tools:
CSV, JSONL or Parquet with a row for each arm, seed and metric (arm, seed, metric,
value), for each run (arm, seed and a column for each metric) or for each image (arm,
seed, prompt and columns of scores); W&B exports; TensorBoard folders; Hydra multiruns.
Columns axis.NAME are axes, n is a number of samples, image is the file of a picture,
relative to the folder of the results: the report shows one for each run and prompt.

table, report, baseline and check then work on it and read the files where they are.
Ranges and directions of metrics, which the files do not contain, are guessed; the
study's file has the guesses, to be corrected there.

Rows that cannot be read are listed by file and line, and then no study is made.
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
	if !studyName.MatchString(o.study) {
		return usagef("import: --study is %q; give a name of letters, digits, - and _", o.study)
	}
	file := filepath.Join("imported", o.study, "study.cue")
	if _, err := os.Stat(file); err == nil && !o.force {
		return usagef("import: %s is there already; --force writes it again, --study takes another name", file)
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
		return errors.New("import: there is no run in these files")
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

// problems prints what an import found in its files.
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
		log.Warn().Msgf("%s: %d more of the kind", kind, n)
	}
}

// ensureModule makes the working folder a CUE module where no folder at or above it is one.
func (g *globals) ensureModule() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, "cue.mod")); err == nil && info.IsDir() {
			return nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	fmt.Fprintf(g.stderr, "ablate: no folder at or above this one holds cue.mod: it is made here\n")
	return module.Bare(".", "example.com/imported")
}

func metricNames(in *imported.Results) []string {
	names := []string{}
	for _, m := range in.Metrics {
		names = append(names, m.Name)
	}
	return names
}

// references are names that arms which others are compared with often have.
var references = []string{"base", "baseline", "reference", "control", "pretrained", "default"}

// studyFile is the CUE file of a study of imported results.
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
	b.WriteString("\t}\n\n\t// What is guessed of the metrics; without // it is declared, and tables no longer say that\n\t// it is guessed.\n\tmetrics: {\n")
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
