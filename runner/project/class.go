package project

import (
	"fmt"

	"ablate/runner/device"
	"ablate/runner/lookup"
)

// Class is the class of backend whose results a command reads: the one that is asked
// for, else that of the study's last run. A study that never ran may still find
// results that other studies left: it reads the class that has most of its actions.
// No device is tried, for what a login node can compute says nothing about what a
// cluster has computed.
func (p Project) Class(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	if p.Record.Backend != "" {
		return p.Record.Backend, nil
	}
	best, most := "", 0
	for _, class := range device.Classes {
		found, err := lookup.Collect(p.Graph, p.Store, class)
		if err != nil {
			return "", err
		}
		if len(found.Outputs) > most {
			best, most = class, len(found.Outputs)
		}
	}
	if best != "" {
		return best, nil
	}
	return device.Likely()
}

// RunBackend is the backend that a run of the study uses, [device.Auto] included: the
// one that is asked for, else that of its last run, else the one that ABLATE_BACKEND
// names. A run never changes to another class by itself, for it would compute
// everything again: that is a *ConflictError.
func (p Project) RunBackend(asked, named string) (string, error) {
	had := p.Record.Backend
	switch {
	case asked != "":
		return asked, nil
	case had == "":
		return named, nil
	case named != device.Auto && named != had:
		return "", &ConflictError{Study: p.Study.Name, Had: had, Named: named}
	}
	return had, nil
}

// ConflictError is a study whose results are of one class of backend while
// ABLATE_BACKEND names another.
type ConflictError struct{ Study, Had, Named string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("study %s has its results from %s, and ABLATE_BACKEND names %s: give --backend %s to go on, or --backend %s to compute everything again",
		e.Study, e.Had, e.Named, e.Had, e.Named)
}

// Unavailable adds to the error of a backend that does not work here what can be done
// about it: the study's results may be of a backend that another machine has.
func (p Project) Unavailable(name string, err error) error {
	if p.Record.Backend != name || name == device.CPU {
		return err
	}
	return fmt.Errorf("%w\nstudy %s has its results from %s: run it where that works, or give --backend %s to compute everything again", err, p.Study.Name, name, device.CPU)
}
