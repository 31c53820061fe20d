package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Verdict is what a probe found.
type Verdict struct {
	Engine  string    `json:"engine"`
	Version string    `json:"version,omitempty"`
	Time    time.Time `json:"time"` // of the probe
	Checks  []Check   `json:"checks"`
}

// Good reports whether no check failed.
func (v *Verdict) Good() bool {
	return !slices.ContainsFunc(v.Checks, func(c Check) bool { return c.Outcome == Broken })
}

// Correct replaces the claims of a description that the probe has refuted.
func (v *Verdict) Correct(d *Description) {
	for _, c := range v.Checks {
		verb := d.Verbs[c.Verb]
		if c.Outcome != Broken || verb == nil {
			continue
		}
		switch c.Claim {
		case "noise":
			verb.Noise = c.Instead
		case "repeat":
			verb.Repeat = c.Instead
		case "resume":
			verb.Resume = c.Instead
		case "stop":
			verb.Stop = c.Instead
		case "serve":
			verb.Serve = false
		case "rows":
			verb.Rows = c.Instead
		}
	}
}

// Refuted describes the failed checks, each as "VERB: WHAT WAS CHECKED".
func (v *Verdict) Refuted() (out []string) {
	for _, c := range v.Checks {
		if c.Outcome == Broken {
			out = append(out, c.Verb+": "+c.Name)
		}
	}
	return out
}

// Verdicts are the last verdicts on a version of an engine, by the hardware on which it was probed.
// What was refuted anywhere counts everywhere, so that results have the same names on all machines.
type Verdicts struct {
	On map[string]*Verdict `json:"on"`
}

// verdictsFile returns the path of the verdicts on an engine of a source with some packages.
func verdictsFile(dir, source, packages string) string {
	sum := sha256.Sum256([]byte(source + " " + packages))
	return filepath.Join(dir, "probed-"+hex.EncodeToString(sum[:16])+".json")
}

// ReadVerdicts reads the verdicts on an engine of a source with some packages; there may be none.
func ReadVerdicts(dir, source, packages string) (*Verdicts, error) {
	v := &Verdicts{On: map[string]*Verdict{}}
	name := verdictsFile(dir, source, packages)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	} else if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("%s: %w: remove the file, and probe the engine again", name, err)
	}
	return v, nil
}

// Save adds a verdict. One on some verbs replaces what is known of these alone.
func (v *Verdicts) Save(dir, source, packages, hardware string, new *Verdict) error {
	verbs := map[string]bool{}
	for _, c := range new.Checks {
		verbs[c.Verb] = true
	}
	all := *new
	if old := v.On[hardware]; old != nil {
		all.Checks = append(slices.DeleteFunc(slices.Clone(old.Checks), func(c Check) bool { return verbs[c.Verb] }), new.Checks...)
	}
	v.On[hardware] = &all
	return save(verdictsFile(dir, source, packages), v)
}

// Correct replaces the claims of a description that any of the verdicts has refuted.
func (v *Verdicts) Correct(d *Description) {
	for _, hardware := range slices.Sorted(maps.Keys(v.On)) {
		v.On[hardware].Correct(d)
	}
}

// Refuted describes the failed checks of all verdicts.
func (v *Verdicts) Refuted() (out []string) {
	for _, verdict := range v.On {
		out = append(out, verdict.Refuted()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Promises says in a few words what an engine promises, as far as results depend on it: "equal bytes,
// noise torch-cpu, exact resume". Of several verbs, the least counts.
func (d *Description) Promises() string {
	repeats := []string{"none", "draws", "bytes"}
	least := len(repeats) - 1
	for _, v := range d.Verbs {
		least = min(least, slices.Index(repeats, v.Repeat))
	}
	out := []string{[]string{"no seed", "equal random numbers", "equal bytes"}[least]}
	if v := d.Verbs[Sample]; v != nil && v.Noise != "" {
		out = append(out, "noise "+v.Noise)
	} else if v != nil {
		out = append(out, "paired by prompt only")
	}
	if v := d.Verbs[Train]; v != nil {
		out = append(out, map[string]string{"exact": "exact resume", "approximate": "approximate resume", "none": "no resume"}[v.Resume])
	}
	return strings.Join(out, ", ")
}
