package cli

import (
	"fmt"
	"image"
	"image/color"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ablate/experiments/spec"
	"ablate/models/shapes"
	"ablate/reports/page"
	"ablate/runner/stage"
	"ablate/runner/study"
)

func newReport(g *globals) *cobra.Command {
	var f studyFlags
	cmd := &cobra.Command{
		Use:   "report STUDY",
		Short: "Write the HTML report of what there is",
		Long: `Writes report/index.html into the study's folder of results, from what the store
has, and prints its path. It opens from disk, without server or network.
` + exitHelp,
		Example: "  ablate report experiments/quickstart",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := g.load(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			class, err := backendClass()
			if err != nil {
				return err
			}
			r, err := l.results(class)
			if err != nil {
				return err
			}
			if len(r.found) == 0 {
				return fmt.Errorf("report: study %s has no result yet: run 'ablate run %s' first", l.Name, args[0])
			}
			if err := r.write(); err != nil {
				return err
			}
			path, err := g.writeReport(l, r)
			if err != nil {
				return err
			}
			fmt.Fprintln(g.stdout, path)
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

// methods are the paragraphs of every report of the shapes world.
var methods = []string{
	"The shapes world: 16×16 images of one to four coloured shapes on a 2×2 grid, drawn by a renderer. A small diffusion transformer is pretrained on rendered images whose captions are imperfect by design, so that it is misaligned because its captions are wrong. Its patches are the cells of the grid: that the network's grid is the world's is a gift, and makes the task easier than it would otherwise be.",
	"Feedback: images drawn from the pretrained model for prompts that feedback may use are labelled good, bad or skip by the annotator, the parser with the study's label noise. A reward is trained on the labels: frozen embeddings of image and prompt (a contrastive embedder trained on the same imperfect captions) into a perceptron, mean squared error and, weighted by λ, prompt classification over perturbed prompts at temperature T (Lee et al. 2023, arXiv 2302.12192, section 3.2).",
	"Fine-tuning: reward-weighted likelihood of generated images plus β times the likelihood of pretraining pairs (section 3.3), with the weighted denoising loss in the place of -log p.",
	"Evaluation: the gold, the parser without noise, judges images for prompts of count, colour, background and combination, a quarter of each held out from feedback; an image that it cannot read counts as not aligned. Fidelity is measured on other images, drawn for captions of held-out real images: k-nearest-neighbour recall (k = 5; Kynkäänniemi et al. 2019) in standardized zero-mean random-convolution features, and the Fréchet distance in the same space, which is noisy here. Real against real is the same figure of a second real set of the same size. Diversity is the mean distance of two aligned images of one complete prompt, relative to that of renders. All arms of one seed see the same prompts and the same initial noise.",
	"Intervals are 95%. From three independent seeds on they are Student's over seeds (crossed pretraining and feedback seeds count as the smaller number of the two); with fewer they are percentile bootstraps over prompts, for these seeds only.",
}

// writeReport writes a study's report and returns the path of its page.
func (g *globals) writeReport(l *loaded, r *results) (string, error) {
	rep := page.Report{
		Name: l.Name, Title: l.Title, Question: l.Question, Table: r.ablation, Samples: r.tables.Samples, Curves: r.tables.Curves,
		Methods: methods, Provenance: l.provenance(r),
	}
	rep.Notes = append(rep.Notes, r.ablation.Footnotes...)
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
		rep.Parameters[i].Trials = append(rep.Parameters[i].Trials, fmt.Sprintf("%s  %s", name, id))
	}
	sets := map[string][]uint8{}
	rep.Image = func(trial, set string, index int) (image.Image, error) {
		key := trial + " " + set
		if _, ok := sets[key]; !ok {
			c := chains[trial]
			out, ok := r.found[c.Evaluate.Name]
			if !ok {
				return nil, nil
			}
			images, err := stage.ReadImages(out.Dir, set)
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
	path, err := page.Write(filepath.Join(l.Dir, "report"), rep)
	return path, l.Store.Diagnose(err)
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
	p := page.Provenance{Command: "ablate run " + quoted(l.Study), Attempts: r.runs.Rows()}
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

// quoted names a study for a command line, with what --set changed.
func quoted(s *spec.Study) string { return strings.ReplaceAll(s.Name, "@", " # with --set, ") }
