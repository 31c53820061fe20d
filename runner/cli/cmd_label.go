package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/reports/format"
	"ablate/runner/people"
	"ablate/runner/phrase"
	"ablate/runner/report"
	"ablate/runner/result"
)

type labelOptions struct {
	studyOptions
	compare, results, json bool
	listen, address        string
	size                   people.Size
}

func (o *labelOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.BoolVar(&o.compare, "compare", false, "compare the images of two rows of the table")
	f.IntVar(&o.size.Raters, "raters", 3, "`N` people, each with a link")
	f.IntVar(&o.size.Each, "each", 0, "people who see a prompt, `N` of the raters (default: all)")
	f.IntVar(&o.size.Prompts, "prompts", 120, "`N` prompts, drawn by --seed from those of the evaluation; 0: all")
	f.IntVar(&o.size.Grid, "grid", 4, "at most `N` images of a side")
	f.Uint64Var(&o.size.Seed, "seed", 1, "seed `S` of prompts, orders and sides")
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "`ADDRESS` at which this machine serves the page; a port of 0 is any free one. Others than 127.0.0.1 let other machines in")
	f.StringVar(&o.address, "address", "", "`URL` with which links begin, such as that of a proxy with https (default: http:// and the address)")
	f.BoolVar(&o.results, "results", false, "print the results so far and serve nothing")
	f.BoolVar(&o.json, "json", false, "print the results as JSON")
}

const labelFormat = "ablate.label/1"

// labelDocument is what label prints as JSON.
type labelDocument struct {
	head
	Dir string `json:"dir"` // folder of the answers
	*people.Outcome
}

func newLabel(g *globals) *cobra.Command {
	var o labelOptions
	cmd := &cobra.Command{
		Use:   "label STUDY --compare ROW ROW",
		Short: "Let people compare the images of two rows, on a page of their own",
		Long: `Serves a page on which people compare two models, as Lee et al. 2023 (arXiv 2302.12192) let
them: grids of images of one prompt and from the same noise, one on each side. Which
model is on the left is drawn for each person and prompt, and no page says it. People say
which side shows better what the prompt says, and which looks better; both may be a tie.

Each person has a link. An answer is on the disk before the page moves on, and counts
once. End the command with Ctrl-C, and start it again to go on: prompts, sides and links
stay. Results have intervals for other people and other prompts; with one person, for
other prompts only. The rows' images must be in the store ('ablate run').

The page is served to this machine alone, unless --listen names another address. Whoever
has a link can answer in its name: send it by a way that others do not read.
` + exitHelp,
		Example: "  ablate label experiments/lee2023 --compare 'all data' pretrained --raters 5\n" +
			"  ablate label experiments/lee2023 --compare 'all data' pretrained --results",
		Args:    cobra.RangeArgs(1, 3),
		PreRunE: func(cmd *cobra.Command, args []string) error { return o.check(cmd.Flags(), args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLabel(cmd.Context(), g, o, args[0], [2]string{args[1], args[2]})
		},
	}
	o.addFlags(cmd.Flags())
	cmd.AddCommand(newLabelImport(g), newLabelExport(g))
	return cmd
}

// check returns an error if a value is out of range or missing.
func (o *labelOptions) check(f *pflag.FlagSet, args []string) error {
	switch {
	case !o.compare || len(args) != 3:
		return usagef("label: name two rows of the table to compare, as in label %s --compare 'all data' pretrained", args[0])
	case args[1] == args[2]:
		return usagef("label: both rows are %q: name two", args[1])
	case o.size.Raters < 1 || o.size.Raters > 1000:
		return usagef("label: --raters is %d; must be from 1 to 1,000", o.size.Raters)
	case o.size.Each < 0 || o.size.Each > o.size.Raters:
		return usagef("label: --each is %d; must be from 1 to the number of raters, %d", o.size.Each, o.size.Raters)
	case o.size.Prompts < 0:
		return usagef("label: --prompts is %d; must be 1 or more, or 0 for all", o.size.Prompts)
	case o.size.Grid < 1 || o.size.Grid > 16:
		return usagef("label: --grid is %d; must be from 1 to 16", o.size.Grid)
	}
	return nil
}

func runLabel(ctx context.Context, g *globals, o labelOptions, path string, sides [2]string) error {
	r, err := g.results(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	tasks, err := compared(r, sides)
	if err != nil {
		return fmt.Errorf("label: %w", err)
	}
	dir := filepath.Join(r.Project.Dir, people.Folder, comparisonName(sides, tasks))
	c, err := people.Open(dir, !o.results)
	if errors.Is(err, fs.ErrNotExist) && !o.results {
		d, err := people.NewDesign(sides, tasks, o.size)
		if err != nil {
			return err
		}
		if err := people.Create(dir, d); err != nil {
			return r.Project.Store.Diagnose(err)
		}
		if c, err = people.Open(dir, true); err != nil {
			return err
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("label: nobody was asked to compare %s and %s yet: 'ablate label %s --compare %s %s' serves the page", sides[0], sides[1], path, phrase.Shell(sides[0]), phrase.Shell(sides[1]))
	} else if err != nil {
		return err
	}
	defer c.Close()
	if !o.results {
		if err := g.serve(ctx, c, report.Pictures(ctx, r), o); err != nil {
			return fmt.Errorf("label: %w", err)
		}
	}
	out := c.Outcome()
	if o.json {
		return printJSON(g.stdout, labelDocument{head{labelFormat}, dir, out})
	}
	return printOutcome(g.stdout, out)
}

// compared returns the prompts of the evaluation of two rows, with the images that both have drawn from the same noise.
func compared(r *result.Result, sides [2]string) ([]people.Task, error) {
	trials := [2]map[string]string{{}, {}} // by seed
	for _, v := range r.Project.Study.Views {
		for k, side := range sides {
			if v.Row() == side {
				trials[k][v.Trial.Seed.String()] = v.Trial.ID().String()
			}
		}
	}
	other := map[string]string{} // the second row's trial, by the first's
	for k, side := range sides {
		if len(trials[k]) == 0 {
			return nil, fmt.Errorf("the study has no row %q: 'ablate table' lists them", side)
		}
	}
	for seed, id := range trials[0] {
		if b, ok := trials[1][seed]; ok && b != id {
			other[id] = b
		}
	}
	if len(other) == 0 {
		return nil, fmt.Errorf("%s and %s have no two trials of one seed that differ: there is nothing to compare", sides[0], sides[1])
	}
	s := r.Tables.Samples
	drawn := map[string]bool{} // trial and index
	key := func(trial string, index int64) string { return fmt.Sprintf("%s %d", trial, index) }
	trial, set, index := s.Column("trial").Strings, s.Column("set").Strings, s.Column("index").Ints
	for i := range s.Rows() {
		if set[i] == result.Alignment {
			drawn[key(trial[i], index[i])] = true
		}
	}
	tasks, at := []people.Task{}, map[string]int{}
	prompt, category, seen := s.Column("prompt").Strings, s.Column("category").Strings, s.Column("seen").Bools
	for i := range s.Rows() {
		b, ok := other[trial[i]]
		if !ok || set[i] != result.Alignment || !drawn[key(b, index[i])] {
			continue
		}
		k, ok := at[prompt[i]]
		if !ok {
			k = len(tasks)
			at[prompt[i]] = k
			tasks = append(tasks, people.Task{Prompt: prompt[i], Tag: category[i], Seen: seen[i]})
		}
		tasks[k].Images = append(tasks[k].Images, people.Image{Trials: [2]string{trial[i], b}, Index: int(index[i])})
	}
	if len(tasks) == 0 {
		return nil, fmt.Errorf("the store has no images of both %s and %s: run the study first", sides[0], sides[1])
	}
	return tasks, nil
}

// comparisonName is the name of the folder of a comparison: rows whose trials have changed are compared anew.
func comparisonName(sides [2]string, tasks []people.Task) string {
	var of []string
	for _, t := range tasks {
		for _, x := range t.Images {
			of = append(of, x.Trials[0]+x.Trials[1])
		}
	}
	slices.Sort(of)
	sum := sha256.Sum256([]byte(strings.Join(append(slices.Compact(of), sides[:]...), "\n")))
	return hex.EncodeToString(sum[:6])
}

// serve serves the page until it is interrupted.
func (g *globals) serve(ctx context.Context, c *people.Collection, draw func(trial, set string, index int) (image.Image, error), o labelOptions) error {
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	base := cmp.Or(strings.TrimRight(o.address, "/"), "http://"+l.Addr().String())
	done, of := c.Done()
	fmt.Fprintf(g.stderr, "%s against %s: %s, of which %d of %d answers are there. A link for each person:\n", c.Sides[0], c.Sides[1], format.Count(len(c.Tasks), "prompt"), done, of)
	for k, link := range c.Links() {
		fmt.Fprintf(g.stderr, "  %s  %s%s\n", c.Raters[k].Name, base, link)
	}
	fmt.Fprintln(g.stderr, "Ctrl-C ends the page and prints the results. Answers are kept, and the same command goes on.")
	server := people.NewServer(c, func(trial string, index int) (image.Image, error) { return draw(trial, result.Alignment, index) })
	if err := server.Serve(ctx, l); err != nil {
		return err
	}
	if now, _ := c.Done(); now > done {
		zerolog.Ctx(ctx).Info().Int("answers", now-done).Msg("kept")
	}
	return nil
}

// printOutcome prints what people have said.
func printOutcome(w io.Writer, o *people.Outcome) error {
	fmt.Fprintf(w, "%s against %s: %d of %d answers of %s on %s\n", o.Sides[0], o.Sides[1], o.Done, o.Of, format.Count(len(o.Raters), "rater"), format.Count(o.Prompts, "prompt"))
	if len(o.Results) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tprompts\twins\tties\tlosses\tshare of wins\t95% interval\t")
	for _, r := range o.Results {
		name := r.Question
		if r.Group != "all" {
			name = "  " + r.Group
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%s to %s\t\n", name, r.Prompts, r.Wins, r.Ties, r.Losses, format.Fixed(r.Share, 2), format.Fixed(r.Low, 2), format.Fixed(r.High, 2))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nA tie is half a win: a share of 0.5 is no difference. Intervals are for other prompts%s.\n",
		map[bool]string{true: " and other raters", false: ", and for this rater only"}[len(o.Raters) > 1])
	for _, a := range o.Agree {
		fmt.Fprintln(w, a)
	}
	return nil
}
