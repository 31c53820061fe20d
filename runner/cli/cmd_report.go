package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ablate/analysis/compare"
	"ablate/analysis/table"
	"ablate/experiments/language"
	"ablate/models/shapes"
	"ablate/reports/page"
	"ablate/runner/stage"
	"ablate/runner/store"
	"ablate/runner/study"
)

type reportFlags struct {
	studyFlags
	single, figures, against string
	most                     float64
	json                     bool
}

func newReport(g *globals) *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report STUDY",
		Short: "Write the HTML report of what there is",
		Long: `Writes report/index.html into the study's folder of results, from what the store
has, and prints its path. It opens from disk, without server or network.

--single writes one file instead, to send to somebody; its size is capped, with
fewer pictures where they do not fit. --figures writes the figures alone, as
SVG, PNG and PDF. --against lays another study beside this one, or this one at
another time: a STUDY, a folder with its trials.arrow and samples.arrow, or a
baseline.
` + exitHelp,
		Example: "  ablate report experiments/quickstart\n  ablate report experiments/quickstart --single report.html\n  ablate report experiments/quickstart --against experiments/gate",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.single != "" && f.figures != "" {
				return usagef("report: --single and --figures exclude each other")
			}
			if !(f.most > 0 && f.most <= 1e6) {
				return usagef("report: --most is %v; must be more than 0 megabytes, and 1,000,000 at most", f.most)
			}
			r, err := g.results(cmd.Context(), args[0], f.studyFlags)
			if err != nil {
				return err
			}
			l := r.l
			if len(r.found.Outputs) == 0 {
				return fmt.Errorf("report: study %s has no result yet: run 'ablate run %s' first", l.Name, args[0])
			}
			rep := r.report(cmd.Context())
			if f.against != "" {
				if rep.Against, err = g.against(cmd.Context(), f.against, r); err != nil {
					return err
				}
			}
			var out []string
			switch {
			case f.single != "":
				html, err := page.Single(rep, int(f.most*1e6))
				if err != nil {
					return err
				}
				if err := writeFile(f.single, func(w io.Writer) error { _, err := w.Write(html); return err }); err != nil {
					return err
				}
				out = []string{f.single}
			case f.figures != "":
				names, err := page.Figures(f.figures, rep)
				if err != nil {
					return err
				}
				for _, n := range names {
					out = append(out, filepath.Join(f.figures, n))
				}
			default:
				path, err := page.Write(filepath.Join(l.Dir, "report"), rep)
				if err != nil {
					return l.Store.Diagnose(err)
				}
				out = []string{path}
			}
			if f.json {
				return json.NewEncoder(g.stdout).Encode(map[string][]string{"files": out})
			}
			for _, name := range out {
				fmt.Fprintln(g.stdout, name)
			}
			return nil
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.single, "single", "", "write the report as one `FILE`")
	fl.Float64Var(&f.most, "most", 20, "cap of --single, in `MB`")
	fl.StringVar(&f.figures, "figures", "", "write the figures alone into the folder `DIR`")
	fl.StringVar(&f.against, "against", "", "lay this `STUDY`, folder of results or baseline beside it")
	fl.BoolVar(&f.json, "json", false, "print the paths as JSON")
	return cmd
}

// against lays another study's table beside this one's, or this one's at another time.
func (g *globals) against(ctx context.Context, name string, r *results) (*page.Against, error) {
	var metrics []string
	for _, m := range r.ablation.Metrics {
		metrics = append(metrics, m.Name)
	}
	lay := func(what string, other *compare.Table) (*page.Against, error) {
		lines := compare.SideBySide(r.ablation, other, metrics)
		if !slices.ContainsFunc(lines, func(b compare.Beside) bool { return b.B != nil }) {
			return nil, fmt.Errorf("report: --against %s has no result", name)
		}
		return &page.Against{Name: what, Lines: lines}, nil
	}
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() && strings.HasSuffix(name, ".json") {
		b, err := readBaseline(name)
		if err != nil {
			return nil, err
		}
		return lay("baseline of "+b.Study, b.Table())
	}
	if _, err := os.Stat(filepath.Join(name, "trials.arrow")); err == nil {
		var t [2]*table.Table
		for i, file := range []string{"trials.arrow", "samples.arrow"} {
			if t[i], err = table.ReadFile(filepath.Join(name, file)); err != nil {
				return nil, fmt.Errorf("report: --against: %w", err)
			}
		}
		other, err := compare.Ablation(t[0], t[1], compare.Options{})
		if err != nil {
			return nil, fmt.Errorf("report: --against %s: %w", name, err)
		}
		return lay(t[0].Meta["study"]+" in "+filepath.Base(name), other)
	}
	other, err := g.results(ctx, name, studyFlags{})
	if err != nil {
		return nil, err
	}
	return lay(other.l.Name, other.ablation)
}

// methods are the paragraphs of every report of the shapes world.
var methods = []string{
	"The shapes world: 16×16 images of one to four coloured shapes on a 2×2 grid, drawn by a renderer. A small diffusion transformer is pretrained on rendered images whose captions are imperfect by design, so that it is misaligned because its captions are wrong. Its patches are the cells of the grid: that the network's grid is the world's is a gift, and makes the task easier than it would otherwise be.",
	"Feedback: images drawn from the pretrained model for prompts that feedback may use are labelled good, bad or skip by the annotator, the parser with the study's label noise. A reward is trained on the labels: frozen embeddings of image and prompt (a contrastive embedder trained on the same imperfect captions) into a perceptron, mean squared error and, weighted by λ, prompt classification over perturbed prompts at temperature T (Lee et al. 2023, arXiv 2302.12192, section 3.2).",
	"Fine-tuning: reward-weighted likelihood of generated images plus β times the likelihood of pretraining pairs (section 3.3), with the weighted denoising loss in the place of -log p.",
	"Evaluation: the gold, the parser without noise, judges images for prompts of count, colour, background and combination, a quarter of each held out from feedback; an image that it cannot read counts as not aligned. Fidelity is measured on other images, drawn for captions of held-out real images: k-nearest-neighbour recall (k = 5; Kynkäänniemi et al. 2019) in standardized zero-mean random-convolution features, and the Fréchet distance in the same space, which is noisy here. Real against real is the same figure of a second real set of the same size. Diversity is the mean distance of two aligned images of one complete prompt, relative to that of renders. All arms of one seed see the same prompts and the same initial noise.",
	"Intervals are 95%. From three independent seeds on they are over seeds and prompts: Student's over seeds, widened by what runs share because they drew the same prompts (two-way clustered errors; Cameron, Gelbach & Miller 2011); crossed pretraining and feedback seeds are two random effects, and their product is never counted as so many runs. With fewer seeds they are percentile bootstraps over prompts, for these seeds only. Differences are paired by seed, and corrected by Holm (1979) over the rows compared on a metric. The front's membership is the share of bootstrap draws, over seeds or prompts, in which no other row is better in both figures.",
}

// writeReport writes a study's report and returns the path of its page.
func (g *globals) writeReport(ctx context.Context, l *loaded, r *results) (string, error) {
	path, err := page.Write(filepath.Join(l.Dir, "report"), r.report(ctx))
	return path, l.Store.Diagnose(err)
}

// report is what the page shows of a study's results.
func (r *results) report(ctx context.Context) page.Report {
	l := r.l
	rep := page.Report{
		Name: l.Name, Title: l.Title, Question: l.Question, Table: r.ablation, Samples: r.tables.Samples, Curves: r.tables.Curves,
		Trials: r.tables.Trials, Reliability: r.tables.Reliability, ProbeImages: stage.ProbeImages,
		Methods: methods, Failures: r.failures(), Provenance: l.provenance(r),
	}
	for _, s := range l.Seeds {
		rep.Seeds = append(rep.Seeds, s.String())
	}
	chains := map[string]study.Chain{}
	byRow := map[string]int{}
	for _, v := range l.Views {
		id := v.Trial.ID()
		chains[id.String()] = l.Graph.Chains[id]
		name := v.String()
		row := name[:strings.LastIndexByte(name, '@')]
		i, ok := byRow[row]
		if !ok {
			i = len(rep.Parameters)
			byRow[row] = i
			rep.Parameters = append(rep.Parameters, page.Parameters{Label: row, Lines: v.Trial.Content.Lines()})
		}
		rep.Parameters[i].Trials = append(rep.Parameters[i].Trials, page.Trial{View: name, ID: id.String()})
	}
	sets := map[string][]uint8{}
	rep.Image = func(trial, set string, index int) (image.Image, error) {
		key := trial + " " + set
		if _, ok := sets[key]; !ok {
			c := chains[trial]
			dir, err := r.found.Verified(ctx, l.Store, c.Evaluate)
			if err != nil || dir == "" {
				return nil, err
			}
			images, err := stage.ReadImages(dir, set)
			if err != nil {
				return nil, err
			}
			sets[key] = images
		}
		if images := sets[key]; (index+1)*shapes.Pixels <= len(images) {
			return picture(images[index*shapes.Pixels : (index+1)*shapes.Pixels]), nil
		}
		return nil, nil
	}
	return rep
}

// failures says of each trial without a result why it has none: what became of
// the last attempt at the first action of its chain that is missing.
func (r *results) failures() []string {
	last := map[store.ActionID]store.Attempt{}
	for _, a := range r.attempts {
		last[a.Action] = a
	}
	var out []string
	seen := map[language.ID]bool{}
	for _, v := range r.l.Views {
		id := v.Trial.ID()
		chain := r.l.Graph.Chains[id]
		if _, done := r.found.Dir(chain.Evaluate); done || seen[id] {
			continue
		}
		seen[id] = true
		out = append(out, v.String()+": "+r.why(chain, last))
	}
	return out
}

func (r *results) why(chain study.Chain, last map[store.ActionID]store.Attempt) string {
	for _, a := range chain.Actions() {
		if r.found.Unreadable(a) {
			return fmt.Sprintf("its result is damaged in the store (%s %s)", a.Kind, r.found.Outputs[a.Name].ID.Short())
		}
		key, ok := r.found.Next(a, r.class)
		if !ok {
			continue
		}
		switch at := last[key]; at.Outcome {
		case store.OutcomeFailed:
			return fmt.Sprintf("%s: %s", a.Label(), at.Error)
		case store.OutcomeInterrupted:
			return a.Label() + " was interrupted"
		case store.OutcomeRunning:
			return a.Label() + " is running"
		}
	}
	return "not run yet"
}

// picture is a stored image as Go has pictures.
func picture(b []uint8) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, shapes.Size, shapes.Size))
	for i := range shapes.Size * shapes.Size {
		img.SetNRGBA(i%shapes.Size, i/shapes.Size, color.NRGBA{b[3*i], b[3*i+1], b[3*i+2], 255})
	}
	return img
}

// provenance says what ran, from the journal.
func (l *loaded) provenance(r *results) page.Provenance {
	p := page.Provenance{Command: l.command(), Attempts: r.runs.Rows()}
	for _, s := range r.runs.Column("seconds").Floats {
		p.Seconds += s
	}
	distinct := func(column string) []string {
		list := slices.Clone(r.runs.Column(column).Strings)
		slices.Sort(list)
		return slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == "" })
	}
	p.Versions, p.Devices, p.CPUs = distinct("versions"), distinct("device"), distinct("cpu")
	for _, c := range r.tables.Trials.Columns {
		name, ok := strings.CutPrefix(c.Name, "artifact.")
		if !ok {
			continue
		}
		for i, id := range c.Strings {
			if c.Has(i) {
				p.Artifacts = append(p.Artifacts, fmt.Sprintf("%s  %s  %s", r.tables.Trials.Column("view").Strings[i], name, id))
			}
		}
	}
	slices.Sort(p.Artifacts)
	return p
}

// command runs the study from the folder of its cue.mod.
func (l *loaded) command() string {
	parts := []string{"ablate", "run", quoted(l.Path)}
	for _, s := range l.set {
		parts = append(parts, "--set", quoted(s))
	}
	return strings.Join(parts, " ")
}

// quoted is a word as a shell reads it.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/=+-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
