package cli

import (
	"fmt"

	"ablate/experiments/language"
)

// cutDocument is what documents about a trial have of early stopping.
type cutDocument struct {
	Stopped int `json:"stopped,omitempty"` // number of steps after which the trial's row was stopped early (halving)
	Waits   int `json:"waits,omitempty"`   // number of steps at which the trial waits until its row is compared with the others
}

// cutOf returns zero for a trial that runs to its end.
func cutOf(v language.View) cutDocument {
	if !v.Cut {
		return cutDocument{}
	}
	at := v.Rungs[len(v.Rungs)-1]
	if v.Stopped {
		return cutDocument{Stopped: at}
	}
	return cutDocument{Waits: at}
}

// cutText returns the same as a line; empty for a trial that runs to its end.
func cutText(v language.View) string {
	switch d := cutOf(v); {
	case !v.Cut:
		return ""
	case d.Stopped > 0:
		return fmt.Sprintf("stopped after step %d of %d: its row's proxy was too low to go on, or one of its trials had failed\n", d.Stopped, v.Trial.Content.Whole("finetune.steps"))
	default:
		return fmt.Sprintf("runs to step %d of %d: there its row is compared with the others by the proxy\n", d.Waits, v.Trial.Content.Whole("finetune.steps"))
	}
}
