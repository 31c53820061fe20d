package study

import (
	"slices"

	"ablate/analysis/table"
	"ablate/runner/store"
)

// Runs is runs.arrow: a row an attempt at an action, in the order of their
// starts. It holds what differs when the same study runs again.
func Runs(attempts []store.Attempt) *table.Table {
	slices.SortStableFunc(attempts, func(a, b store.Attempt) int { return a.Time.Compare(b.Time) })
	var (
		action   = &table.Column{Name: "action", Kind: table.String}
		stage    = &table.Column{Name: "stage", Kind: table.String}
		trial    = &table.Column{Name: "trial", Kind: table.String, Doc: "the first that needs it"}
		attempt  = &table.Column{Name: "attempt", Kind: table.Int}
		start    = &table.Column{Name: "start", Kind: table.Time}
		seconds  = &table.Column{Name: "seconds", Kind: table.Float, Unit: "s"}
		worker   = &table.Column{Name: "worker", Kind: table.Int}
		device   = &table.Column{Name: "device", Kind: table.String}
		backend  = &table.Column{Name: "backend", Kind: table.String}
		versions = &table.Column{Name: "versions", Kind: table.String}
		cpu      = &table.Column{Name: "cpu", Kind: table.String}
		outcome  = &table.Column{Name: "outcome", Kind: table.String, Doc: "ok, failed, interrupted or running"}
		failure  = &table.Column{Name: "error", Kind: table.String}
	)
	for _, a := range attempts {
		action.Strings = append(action.Strings, a.Action.String())
		stage.Strings = append(stage.Strings, a.Stage)
		trial.Strings = append(trial.Strings, a.Trial)
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
	return &table.Table{Columns: []*table.Column{action, stage, trial, attempt, start, seconds, worker, device, backend, versions, cpu, outcome, failure}}
}
