package cli

import (
	"errors"
	"fmt"

	"ablate/runner/lookup"
	"ablate/runner/project"
	"ablate/runner/result"
	"ablate/runner/run"
)

// of returns a digest of everything from which a run makes tables and report, and prints.
func (g *globals) of(p project.Project, class string, found *lookup.Found, o runOptions) (string, error) {
	width, _ := terminal(g.stdout)
	return result.ConclusionOf(p, class, found, fmt.Sprintf("%d %v %q %v", width, o.json, o.until, o.part))
}

// record records what a run printed, for repeat.
func (g *globals) record(p project.Project, class string, found *lookup.Found, o runOptions, text string) error {
	of, err := g.of(p, class, found, o)
	if err != nil {
		return err
	}
	return result.Conclude(p, of, text)
}

// repeat prints again what the last run printed, and returns true, if nothing has changed
// since.
func (g *globals) repeat(p project.Project, class string, found *lookup.Found, out *run.Outcome, o runOptions) (bool, error) {
	of, err := g.of(p, class, found, o)
	if err != nil {
		return false, err
	}
	text, ok := result.Concluded(p, of)
	if !ok {
		return false, nil
	}
	_, err = g.stdout.Write([]byte(text))
	return true, errors.Join(failed(p, out.Failures), err)
}
