package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ablate/runner/selection"
	"ablate/runner/store"
)

type logsOptions struct {
	studyOptions
	json bool
}

func (o *logsOptions) addFlags(f *pflag.FlagSet) {
	o.studyOptions.addFlags(f)
	f.BoolVar(&o.json, "json", false, "print JSON")
}

const logsFormat = "ablate.logs/1"

// logsDocument is what logs prints as JSON.
type logsDocument struct {
	head
	View  string `json:"view"`  // row and seed of the trial, "ROW@SEED"
	Trial string `json:"trial"` // id of the trial
	cutDocument
	Attempts []logsAttempt `json:"attempts"`
	Logs     []logsLog     `json:"logs"` // of stages that failed and have no result since
}

// logsAttempt is an attempt at a stage, by any process and for any study of the store.
type logsAttempt struct {
	Stage   string  `json:"stage"`
	Action  string  `json:"action"`  // id of the stage with its parameters and inputs
	Start   string  `json:"start"`   // RFC 3339
	Seconds float64 `json:"seconds"` // 0 if the end is not known
	Outcome string  `json:"outcome"` // ok, failed, interrupted or running
	Class   string  `json:"class"`   // of a failure; empty otherwise
	Error   string  `json:"error"`
	Process string  `json:"process"` // name of the process, MACHINE-PID-START
	Device  string  `json:"device"`
}

// logsLog is the log of a stage.
type logsLog struct {
	Stage string `json:"stage"`
	Path  string `json:"path"`
	Text  string `json:"text"`
}

func newLogs(g *globals) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs STUDY TRIAL",
		Short: "Print the attempts at a trial's stages, and the logs of those that failed",
		Long: `Prints every attempt at the stages of a trial: when, for how long, by which process, and
how it ended. Then it prints the logs of the stages that failed: the error, parameters and
inputs, the environment, the stack, and what the worker wrote to its standard error.

TRIAL is the beginning of a trial's id, or a row and a seed such as 'all data@1'.
` + exitHelp,
		Example: "  ablate logs experiments/quickstart 'all data@1'",
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return runLogs(cmd.Context(), g, o, args[0], args[1]) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runLogs(ctx context.Context, g *globals, o logsOptions, path, trial string) error {
	p, err := g.load(ctx, path, o.studyOptions)
	if err != nil {
		return err
	}
	actions, err := actionsOf(p, []string{trial})
	if err != nil {
		return err
	}
	class, err := p.Class(o.backend)
	if err != nil {
		return err
	}
	found, err := p.Find(p.Graph, class)
	if err != nil {
		return err
	}
	attempts, err := p.Store.Attempts()
	if err != nil {
		return err
	}
	by := map[store.ActionID][]store.Attempt{}
	for _, a := range attempts {
		by[a.Action] = append(by[a.Action], a)
	}
	v, err := selection.Trial(p.Study, trial)
	if err != nil {
		return err
	}
	doc := logsDocument{head{logsFormat}, v.String(), v.Trial.ID().String(), cutOf(v), []logsAttempt{}, []logsLog{}}
	for _, a := range actions {
		id, ok := found.Next(a, class)
		if out, done := found.Get(a); done {
			id, ok = out.Action, true
		}
		if !ok {
			continue
		}
		for _, at := range by[id] {
			doc.Attempts = append(doc.Attempts, logsAttempt{string(a.Kind), id.String(), at.Time.UTC().Format("2006-01-02T15:04:05Z"), at.Seconds,
				string(at.Outcome), at.Class, at.Error, at.Process, at.Device})
		}
		f, failed := found.Failed[a]
		if !failed || f.Log == "" {
			continue
		}
		name := filepath.Join(p.Store.Dir(), f.Log)
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		doc.Logs = append(doc.Logs, logsLog{string(a.Kind), name, string(text)})
	}
	if o.json {
		return printJSON(g.stdout, doc)
	}
	fmt.Fprintf(g.stdout, "%s\ntrial %s\n%s\n", doc.View, doc.Trial, cutText(v))
	if len(doc.Attempts) == 0 {
		fmt.Fprintf(g.stdout, "No stage of it has been tried; '%s' does.\n", p.Command())
	}
	for _, a := range doc.Attempts {
		line := fmt.Sprintf("%s  %-11s %-9s %8s  %s", a.Start, a.Stage, a.Outcome, seconds1(a.Seconds), a.Process)
		if a.Class != "" {
			line += "  " + a.Class
		}
		fmt.Fprintln(g.stdout, line)
	}
	for _, l := range doc.Logs {
		fmt.Fprintf(g.stdout, "\n%s:\n%s\n", l.Path, strings.TrimRight(l.Text, "\n"))
	}
	return nil
}

// seconds1 formats a duration of an attempt, with one decimal.
func seconds1(s float64) string {
	if s == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f s", s)
}
