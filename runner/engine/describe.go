package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ablate/experiments/language"
)

// A Description is the file that 'describe' writes: what an engine can do.
type Description struct {
	Protocols   []int                      `json:"protocols"`             // versions of the protocol that it speaks
	Name        string                     `json:"name"`                  // name of the program
	Version     string                     `json:"version,omitempty"`     // version of the program, for people
	Identity    string                     `json:"identity,omitempty"`    // text that changes when what the program computes changes, for studies that name no source
	Prompts     []string                   `json:"prompts,omitempty"`     // prompts of a probe, for a program that cannot read any; absent: some of general interest
	Understands []string                   `json:"understands,omitempty"` // optional parts of the protocol that it knows: "emit:noise", "emit:samples"
	Environment Environment                `json:"environment,omitzero"`  // interpreter and packages
	Verbs       map[string]*Verb           `json:"verbs"`                 // what it can do, by verb
	Probe       map[string]json.RawMessage `json:"probe,omitempty"`       // by verb, parameters with which a task takes seconds, for 'ablate probe'
}

// An Environment is the interpreter and the packages of an engine.
type Environment struct {
	Python   string   `json:"python,omitempty"`   // version of Python
	Packages []string `json:"packages,omitempty"` // "NAME==VERSION", sorted
}

// Digest returns the SHA-256 of the interpreter and the packages.
func (e Environment) Digest() string {
	sum := sha256.Sum256([]byte(e.Python + "\n" + strings.Join(e.Packages, "\n")))
	return hex.EncodeToString(sum[:])
}

// A Verb is one of the abilities of an engine.
type Verb struct {
	Revision    int                        `json:"revision"`               // whole number from 1, raised when what the verb computes changes
	Noise       string                     `json:"noise,omitempty"`        // name of a noise that is a function of a row's seed and shape only, such as "torch-cpu"; absent: no such promise
	Repeat      string                     `json:"repeat,omitempty"`       // what a task gives when it is done again: "bytes" (equal bytes, the default), "draws" (equal random numbers, other rounding) or "none" (it has no seed)
	Resume      string                     `json:"resume,omitempty"`       // how a training that was stopped goes on: "exact", "approximate" or not at all ("none", the default)
	Stop        string                     `json:"stop,omitempty"`         // how the program is asked to stop: by the "file" stop, by "term" (the file and SIGTERM) or not at all ("none", the default)
	World       string                     `json:"world,omitempty"`        // what another number of GPUs changes: rounding only ("same", the default), or the result ("key")
	Rows        string                     `json:"rows,omitempty"`         // whether rows are computed "alone" (the default), or "together" and never split into several tasks
	Format      string                     `json:"format,omitempty"`       // of train: format of the checkpoints that it writes
	Formats     []string                   `json:"formats,omitempty"`      // of sample: formats of the checkpoints that it reads; of train: others that it may write
	Source      []string                   `json:"source,omitempty"`       // patterns that take the place of the engine's source for this verb
	Serve       bool                       `json:"serve,omitempty"`        // whether 'serve' does the verb, too; not for train
	Shard       int                        `json:"shard,omitempty"`        // largest number of rows of one task; absent: 256
	Readback    bool                       `json:"readback,omitempty"`     // whether resolved of a result has every parameter
	Keeps       bool                       `json:"keeps,omitempty"`        // of train: whether it writes checkpoints after the steps in keep
	Scorers     bool                       `json:"scorers,omitempty"`      // of train: whether it calls the study's reward while it trains
	ScorersWhen map[string]json.RawMessage `json:"scorers_when,omitempty"` // condition under which it does, as when of an input; absent: always
	Estimate    bool                       `json:"estimate,omitempty"`     // whether 'estimate' says what a task of the verb will need; not for load
	Seeds       []string                   `json:"seeds,omitempty"`        // of train: names of its random streams
	Inputs      map[string]Input           `json:"inputs,omitempty"`       // of train: the roles that it reads
	Columns     map[string]Column          `json:"columns,omitempty"`      // of score: what it gives each image, by column
	Params      json.RawMessage            `json:"params,omitempty"`       // JSON Schema (a small subset) of the parameters

	params []language.Param
	tries  map[string][]any     // by parameter, values for a probe
	calls  []language.Condition // of ScorersWhen
}

// Calls reports whether a training with the given parameters, by path, calls the study's reward.
func (v *Verb) Calls(params map[string]any) bool { return v.Scorers && holds(v.calls, params) }

// An Input is a role that train reads.
type Input struct {
	Columns []string                   `json:"columns,omitempty"` // fields of its rows that train reads
	When    map[string]json.RawMessage `json:"when,omitempty"`    // condition under which train needs it: by parameter, a list of values or {"above": NUMBER}; absent: always

	when []language.Condition
}

// A Column is what score gives each image.
type Column struct {
	Kind   string    `json:"kind,omitempty"`   // "real" (a number, the default) or "verdict" ("good", "bad" or "skip")
	Better string    `json:"better,omitempty"` // direction of better values: "higher" (the default) or "lower"
	Range  []float64 `json:"range,omitempty"`  // of kind "real": smallest and largest possible value, as in [0, 1]; absent: any number
}

// Parameters returns the parameters of the verb.
func (v *Verb) Parameters() []language.Param { return v.params }

const mostDescription = 1 << 20 // bytes

// ParseDescription reads a description. Errors name the field.
func ParseDescription(data []byte) (*Description, error) {
	if len(data) > mostDescription {
		return nil, fmt.Errorf("it has %d bytes; must be at most %d", len(data), mostDescription)
	}
	d := &Description{}
	if err := strict(data, d); err != nil {
		return nil, err
	}
	return d, d.check()
}

func (d *Description) check() error {
	switch {
	case !slices.Contains(d.Protocols, Protocol):
		return fmt.Errorf("protocols: it speaks %v, and this program version %d: install an engine or an ablate of the same version", d.Protocols, Protocol)
	case !nameable(d.Name):
		return fmt.Errorf("name: %q must be letters, digits, dots, hyphens or underscores", d.Name)
	case len(d.Verbs) == 0:
		return fmt.Errorf("verbs: there are none; an engine has one or more of %s", strings.Join(Verbs, ", "))
	}
	for name, v := range d.Verbs {
		switch {
		case slices.Contains(reserved, name):
			return fmt.Errorf("verbs.%s: the name is reserved for a later version of the protocol", name)
		case !slices.Contains(Verbs, name):
			return fmt.Errorf("verbs.%s: unknown verb; must be one of %s", name, strings.Join(Verbs, ", "))
		case v == nil:
			return fmt.Errorf("verbs.%s: null; must be an object", name)
		}
		if err := v.check(name); err != nil {
			return fmt.Errorf("verbs.%s.%w", name, err)
		}
	}
	for name, params := range d.Probe {
		v := d.Verbs[name]
		if v == nil {
			return fmt.Errorf("probe.%s: the engine has no such verb", name)
		}
		if _, err := v.Complete(params); err != nil {
			return fmt.Errorf("probe.%s: %w", name, err)
		}
	}
	return nil
}

// choice checks a field that has one of some values, of which the first is the default.
func choice(field *string, name string, values ...string) error {
	if *field == "" {
		*field = values[0]
	}
	if !slices.Contains(values, *field) {
		return fmt.Errorf("%s: %q; must be one of %q", name, *field, values)
	}
	return nil
}

func (v *Verb) check(name string) (err error) {
	if v.Noise != "" && !nameable(v.Noise) {
		return fmt.Errorf("noise: %q is not a name; \"torch-cpu\" is what docs/engines.md defines", v.Noise)
	}
	if err := errors.Join(choice(&v.Repeat, "repeat", "bytes", "draws", "none"), choice(&v.Resume, "resume", "none", "approximate", "exact"),
		choice(&v.Stop, "stop", "none", "file", "term"), choice(&v.World, "world", "same", "key"), choice(&v.Rows, "rows", "alone", "together")); err != nil {
		return err
	}
	if v.Shard == 0 {
		v.Shard = 256
	}
	if v.params, v.tries, err = parseParams(v.Params); err != nil {
		return err
	}
	at := func(path string) *language.Param { return param(v.params, path) }
	for i := range v.params {
		for _, c := range v.params[i].Unused {
			if at(c.Path) == nil {
				return fmt.Errorf("params: x-unused of %s names %q, which is not a parameter", v.params[i].Path, c.Path)
			}
		}
	}
	switch {
	case v.Revision < 1:
		return fmt.Errorf("revision: %d; must be 1 or more", v.Revision)
	case v.Shard < 1:
		return fmt.Errorf("shard: %d; must be 1 or more", v.Shard)
	case name == Train && v.Format == "":
		return errors.New("format: missing; train names the format of its checkpoints, such as \"diffusers-lora\"")
	case name == Sample && len(v.Formats) == 0:
		return errors.New("formats: missing; sample names the formats of checkpoints that it reads")
	case name == Score && len(v.Columns) == 0:
		return errors.New("columns: missing; score names what it gives each image, as in {\"score\": {\"kind\": \"real\", \"better\": \"higher\"}}")
	case name == Train && v.Serve:
		return errors.New("serve: train always gets a process of its own: leave it out")
	case name != Train && (len(v.Inputs) > 0 || len(v.Seeds) > 0 || v.Keeps || v.Scorers):
		return errors.New("inputs, seeds, keeps and scorers belong to train")
	case name != Score && len(v.Columns) > 0:
		return errors.New("columns: they belong to score")
	case name == Load && v.Estimate:
		return errors.New("estimate: load computes nothing: leave it out")
	}
	for _, s := range v.Seeds {
		if !nameable(s) {
			return fmt.Errorf("seeds: %q is not a name", s)
		}
	}
	for role, in := range v.Inputs {
		if !slices.Contains(roles, role) {
			return fmt.Errorf("inputs.%s: unknown role; must be one of %s", role, strings.Join(roles, ", "))
		}
		if in.when, err = parseConditions(in.When, v.params); err != nil {
			return fmt.Errorf("inputs.%s.when: %w", role, err)
		}
		v.Inputs[role] = in
	}
	if v.ScorersWhen != nil && !v.Scorers {
		return errors.New("scorers_when: it is a condition of scorers, which is not set")
	}
	if v.calls, err = parseConditions(v.ScorersWhen, v.params); err != nil {
		return fmt.Errorf("scorers_when: %w", err)
	}
	for column, c := range v.Columns {
		if !nameable(column) {
			return fmt.Errorf("columns: %q is not a name", column)
		}
		if err := errors.Join(choice(&c.Kind, "kind", "real", "verdict"), choice(&c.Better, "better", "higher", "lower")); err != nil {
			return fmt.Errorf("columns.%s.%w", column, err)
		}
		switch {
		case c.Range != nil && c.Kind == "verdict":
			return fmt.Errorf("columns.%s.range: a verdict has none: leave it out", column)
		case c.Range != nil && (len(c.Range) != 2 || c.Range[0] >= c.Range[1]):
			return fmt.Errorf("columns.%s.range: %v; must be the smallest and the largest possible value, as in [0, 1]", column, c.Range)
		}
		v.Columns[column] = c
	}
	return nil
}

// roles are the inputs that train may read.
var roles = []string{BaseRole, ImagesRole, PairsRole, PretrainingRole, PromptsRole}

// nameable reports whether a name has only letters, digits, dots, hyphens and underscores,
// begins with a letter or digit, and has at most 128 characters.
func nameable(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", r)) {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// Program returns what a study needs to know of the engine.
func (d *Description) Program() *language.Program {
	p := &language.Program{Verbs: map[string]*language.Verb{}}
	for name, v := range d.Verbs {
		out := &language.Verb{Params: v.params, Format: v.Format, Formats: v.Formats, Noise: v.Noise, Keeps: v.Keeps, Inputs: map[string]language.Input{}}
		for role, in := range v.Inputs {
			out.Inputs[role] = language.Input{Columns: in.Columns, When: in.when}
		}
		for column, c := range v.Columns {
			out.Columns = append(out.Columns, language.Column{Name: column, Kind: c.Kind, Better: c.Better, Range: c.Range})
		}
		slices.SortFunc(out.Columns, func(a, b language.Column) int { return strings.Compare(a.Name, b.Name) })
		p.Verbs[name] = out
	}
	return p
}

// describeTime is how long an engine may take to describe itself.
const describeTime = 10 * time.Second

// Describe asks the engine what it can do. Descriptions are cached in the folder cache by
// the source of the engine and the state of its interpreter. An empty cache, or an engine without
// source, is asked always.
func (e *Engine) Describe(ctx context.Context, cache string) (*Description, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	name := ""
	if cache != "" && len(e.Source) > 0 { // the identity of other engines is in the description
		source, err := e.SourceDigest(ctx)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%q\n%q\n%s", source, e.argv(0), e.environment(nil), stamp(e.argv(0)[0])))
		name = filepath.Join(cache, hex.EncodeToString(sum[:16])+".json")
		if data, err := os.ReadFile(name); err == nil {
			if d, err := ParseDescription(data); err == nil {
				return d, nil
			}
		}
	}
	data, err := e.ask(ctx, question{command: "describe", sees: "describe", limit: describeTime, advice: ": it must load no model, use no network and import nothing heavy"})
	if err != nil {
		return nil, err
	}
	d, err := ParseDescription(data)
	if err != nil {
		return nil, e.errorf("its description is not valid: %w", err)
	}
	if name != "" { // the cache only saves time
		_ = writeWhole(name, data, 0o666)
	}
	return d, nil
}

// stamp returns how an interpreter and its installed packages look, so that a description
// of other packages is asked for again.
func stamp(program string) string {
	files := []string{program}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		files = append(files, real)
	}
	packages, _ := filepath.Glob(filepath.Join(filepath.Dir(program), "..", "lib", "python*", "site-packages")) // the pattern is right
	text := ""
	for _, name := range append(files, packages...) {
		if info, err := os.Stat(name); err == nil {
			text += fmt.Sprintf("%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
	}
	return text
}

// A question is what an engine answers with a file, outside of a task.
type question struct {
	command string        // describe or estimate
	sees    string        // verb whose tasks see as much behind walls
	limit   time.Duration // that the engine may take
	advice  string        // what to do if it takes longer
	request []byte        // content of the file that it is given; nil if it is given none
	threads int           // of computation
}

// ask runs CMD with the command, the file of the request if there is one, and a file that it writes,
// which ask returns.
func (e *Engine) ask(ctx context.Context, q question) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ablate-"+q.command+"-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeoutCause(ctx, q.limit, errTooLong)
	defer cancel()
	words, file := []string{q.command}, filepath.Join(dir, "answer.json")
	if q.request != nil {
		words = append(words, filepath.Join(dir, requestFile))
		if err := os.WriteFile(words[1], q.request, 0o666); err != nil {
			return nil, err
		}
	}
	log := newLog(nil)
	mark := newMark()
	walls, err := e.walls(q.sees)
	if err != nil {
		return nil, err
	}
	if walls != nil {
		walls.see(dir, writable)
	}
	env := e.environment(map[string]string{"TMPDIR": dir, markVariable: mark, "OMP_NUM_THREADS": strconv.Itoa(max(1, q.threads))})
	p, err := e.start(command{argv: e.argv(0, append(words, file)...), dir: dir, walls: walls, env: env, log: log})
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	if _, err := p.end(mark, 0); err != nil {
		return nil, e.errorf("'%s': %w", q.command, err)
	}
	if err := context.Cause(ctx); errors.Is(err, errTooLong) {
		return nil, e.errorf("'%s' took longer than %v%s%s", q.command, q.limit, q.advice, log.tail())
	} else if err != nil {
		return nil, err
	}
	if code := p.code(); code != 0 {
		return nil, e.errorf("'%s' failed (%s)%s", q.command, p.ending(), log.tail())
	}
	data, err := readSmall(file, mostDescription)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, e.errorf("'%s FILE' ended without writing FILE: the answer belongs there, and not on standard output%s", q.command, log.tail())
	}
	if err != nil {
		return nil, e.errorf("'%s': %w", q.command, err)
	}
	return data, nil
}

var errTooLong = errors.New("it takes too long")
