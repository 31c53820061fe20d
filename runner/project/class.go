package project

import (
	"fmt"

	"ablate/runner/device"
	"ablate/runner/lookup"
)

// Class returns the class of backend whose results a command reads: the one that is asked
// for, or else that of the study's last run. If the study never ran, other studies may
// have left results that it can use; then Class returns the class with most of them. It
// does not try devices, because the machine that reads, such as a login node, may have
// other devices than the one that computed.
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
		if found.Len() > most {
			best, most = class, found.Len()
		}
	}
	if best != "" {
		return best, nil
	}
	return device.Likely()
}

// RunBackend returns the backend that a run of the study uses, which may be
// [device.Auto]: the one that is asked for, or else that of its last run, or else named,
// the value of ABLATE_BACKEND. If named differs from the last run, the error is a
// *ConflictError: a run never changes to another class by itself, because it would
// compute everything again.
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

// ConflictError reports that a study's results are of one class of backend while
// ABLATE_BACKEND names another.
type ConflictError struct{ Study, Had, Named string }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("study %s has its results from %s, and ABLATE_BACKEND names %s: give --backend %s to continue, or --backend %s to compute everything again",
		e.Study, e.Had, e.Named, e.Had, e.Named)
}

// Unavailable adds advice to the error of a backend that does not work on this machine:
// the study's results may be of a backend that another machine has.
func (p Project) Unavailable(name string, err error) error {
	if p.Record.Backend != name || name == device.CPU {
		return err
	}
	return fmt.Errorf("%w\nstudy %s has its results from %s: run it where that works, or give --backend %s to compute everything again", err, p.Study.Name, name, device.CPU)
}
