package result

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"ablate/analysis/table"
	"ablate/runner/layout"
	"ablate/runner/lookup"
	"ablate/runner/run"
	"ablate/runner/stage"
	"ablate/runner/store"
)

// EnvironmentID returns the id of the environment that the lines of run.Machine describe.
func EnvironmentID(lines string) string {
	sum := sha256.Sum256([]byte(lines))
	return hex.EncodeToString(sum[:])[:12]
}

// environmentOf returns the ids of the environments in which the stages of a chain that
// need a backend were computed, joined by plus signs. The number of threads of a stage counts
// if not all results of the stage have the same.
func environmentOf(found *lookup.Found, c layout.Chain, threads map[stage.Kind][]string) string {
	var ids []string
	for _, a := range c.Actions() {
		if out, ok := found.Get(a); ok && a.Kind.Def().Backend && out.Made != "" {
			lines := out.Made
			if len(threads[a.Kind]) < 2 {
				lines, _ = run.WithoutThreads(lines)
			}
			if id := EnvironmentID(lines); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " + ")
}

// threadsOf returns the numbers of threads with which the results of each stage were computed.
func threadsOf(found *lookup.Found, g *layout.Graph) map[stage.Kind][]string {
	threads := map[stage.Kind][]string{}
	for _, a := range g.Actions {
		if out, ok := found.Get(a); ok && out.Made != "" {
			if _, n := run.WithoutThreads(out.Made); !slices.Contains(threads[a.Kind], n) {
				threads[a.Kind] = append(threads[a.Kind], n)
			}
		}
	}
	return threads
}

// Runs returns the table runs.arrow: one row per attempt at an action, in the order of
// their starts. Unlike the other tables, it differs when the same study runs again.
func Runs(attempts []store.Attempt) *table.Table {
	slices.SortStableFunc(attempts, func(a, b store.Attempt) int { return a.Time.Compare(b.Time) })
	var (
		action   = &table.Column{Name: "action", Kind: table.String, Doc: "id in the store of the computation (action)"}
		kind     = &table.Column{Name: "stage", Kind: table.String, Doc: "stage that was computed"}
		trial    = &table.Column{Name: "trial", Kind: table.String, Doc: "id of the first trial that needs the action"}
		view     = &table.Column{Name: "view", Kind: table.String, Doc: "row and seed of that trial"}
		attempt  = &table.Column{Name: "attempt", Kind: table.Int, Doc: "1 for the first try of the action by this study"}
		start    = &table.Column{Name: "start", Kind: table.Time, Doc: "start of the attempt, in UTC"}
		seconds  = &table.Column{Name: "seconds", Kind: table.Float, Unit: "s", Doc: "duration of the attempt; 0 if its end is not known"}
		worker   = &table.Column{Name: "worker", Kind: table.Int, Doc: "number of the worker process"}
		device   = &table.Column{Name: "device", Kind: table.String, Doc: "name of the processor or GPU"}
		backend  = &table.Column{Name: "backend", Kind: table.String, Doc: "class of backend: xla:cuda, xla:cpu or go"}
		versions = &table.Column{Name: "versions", Kind: table.String, Doc: "versions of this program and of the libraries that it computes with"}
		cpu      = &table.Column{Name: "cpu", Kind: table.String, Doc: "processor and its vector extensions"}
		where    = &table.Column{Name: "environment", Kind: table.String, Doc: "id of the environment, as in trials.arrow"}
		lines    = &table.Column{Name: "environment.lines", Kind: table.String, Doc: "everything that may change the last digits of a result: plugin, driver, processor, threads, flags"}
		outcome  = &table.Column{Name: "outcome", Kind: table.String, Doc: "ok, failed, interrupted or running"}
		failure  = &table.Column{Name: "error", Kind: table.String, Doc: "error of a failed attempt"}
	)
	for _, a := range attempts {
		action.Strings = append(action.Strings, a.Action.String())
		kind.Strings = append(kind.Strings, a.Stage)
		trial.Strings = append(trial.Strings, a.Trial)
		view.Strings = append(view.Strings, a.View)
		id := ""
		if a.Environment != "" {
			id = EnvironmentID(a.Environment)
		}
		where.Strings, lines.Strings = append(where.Strings, id), append(lines.Strings, a.Environment)
		attempt.Ints = append(attempt.Ints, int64(a.Number))
		start.Times = append(start.Times, a.Time)
		seconds.Floats = append(seconds.Floats, a.Seconds)
		worker.Ints = append(worker.Ints, int64(a.Worker))
		device.Strings = append(device.Strings, a.Device)
		backend.Strings = append(backend.Strings, a.Backend)
		versions.Strings = append(versions.Strings, a.Versions)
		cpu.Strings = append(cpu.Strings, a.CPU)
		outcome.Strings = append(outcome.Strings, string(a.Outcome))
		failure.Strings = append(failure.Strings, a.Error)
	}
	return &table.Table{Columns: []*table.Column{action, kind, trial, view, attempt, start, seconds, worker, device, backend, versions, cpu, where, lines, outcome, failure}}
}
