package engine

import (
	"context"
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
	"syscall"
	"time"

	"ablate/experiments/language"
)

// Outcomes of a check.
const (
	Passed  = "passed"
	Broken  = "failed"
	Skipped = "skipped" // the engine does not claim what the check is about, or lacks a verb that it needs
)

// A Check is the outcome of one check of an engine.
type Check struct {
	Verb    string  `json:"verb"`
	Name    string  `json:"name"`            // what was checked
	Outcome string  `json:"outcome"`         // "passed", "failed" or "skipped"
	Found   string  `json:"found,omitempty"` // what was seen
	Do      string  `json:"do,omitempty"`    // what a researcher should do about a failure
	Claim   string  `json:"claim,omitempty"` // claim of the description that the check refutes, such as "resume"
	Instead string  `json:"instead"`         // what the claim counts as from now on; empty: as absent
	Seconds float64 `json:"seconds"`
}

// ProbeOptions of a probe.
type ProbeOptions struct {
	Dir     string // a new folder for the tasks
	GPUs    int
	Devices string
	CPUs    int
	Base    string           // a checkpoint folder in the place of what load gives; may be empty
	Only    func(Check) bool // the checks to make, by verb and name; nil: all
	End     func(Check)      // called after each check; may be nil
}

// probe is a probe that runs.
type probe struct {
	e     *Engine
	d     *Description
	o     ProbeOptions
	v     *Verdict
	n     int // number of attempts
	tasks map[string]*done
}

// done is a task that was done.
type done struct {
	dir  string // attempt folder
	a    *Attempt
	err  error
	sums map[string]string // digests of the files of out/

	before, after map[string]string // digests of the files of in/ before and after the task
}

// rowsOfProbe is the number of rows of tasks of a probe.
const rowsOfProbe = 8

var probePrompts = []string{"a red square", "two blue circles", "a green tree on white", "three yellow cats", "a white dog", "one black car", "four orange birds", "a purple house"}

// Probe checks whether an engine keeps the promises of its description, in small tasks with
// the parameters that the description gives for it. It returns an error only if it cannot
// go on.
func Probe(ctx context.Context, e *Engine, d *Description, o ProbeOptions) (*Verdict, error) {
	if err := os.MkdirAll(o.Dir, 0o777); err != nil {
		return nil, err
	}
	p := &probe{e: e, d: d, o: o, v: &Verdict{Engine: d.Name, Version: d.Version, Time: time.Now().UTC().Truncate(time.Second), Checks: []Check{}}, tasks: map[string]*done{}}
	for _, c := range p.checks() {
		if d.Verbs[c.verb] == nil {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		check, begin := Check{Verb: c.verb, Name: c.name}, time.Now()
		if o.Only != nil && !o.Only(check) {
			continue
		}
		err := c.run(ctx, d.Verbs[c.verb])
		check.Seconds = time.Since(begin).Seconds()
		var skip skipped
		var fault *finding
		switch {
		case err == nil:
			check.Outcome = Passed
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.As(err, &skip):
			check.Outcome, check.Found = Skipped, string(skip)
		case errors.As(err, &fault):
			check.Outcome, check.Found, check.Do, check.Claim, check.Instead = Broken, fault.found, fault.do, fault.claim, fault.instead
		default:
			check.Outcome, check.Found, check.Do = Broken, err.Error(), "The task itself failed: mend that first. Its folder is "+p.last()
		}
		p.v.Checks = append(p.v.Checks, check)
		if o.End != nil {
			o.End(check)
		}
	}
	return p.v, nil
}

// skipped is the reason why a check was left out.
type skipped string

func (s skipped) Error() string { return string(s) }

// finding is a broken promise.
type finding struct{ found, do, claim, instead string }

func (f *finding) Error() string { return f.found }

type checkOf struct {
	verb, name string
	run        func(ctx context.Context, v *Verb) error
}

// checks returns all checks in their order: a later one may use tasks of earlier ones.
func (p *probe) checks() []checkOf {
	var all []checkOf
	add := func(verb, name string, run func(ctx context.Context, v *Verb) error) {
		all = append(all, checkOf{verb, name, run})
	}
	for _, verb := range Verbs {
		add(verb, "a task with the probe's parameters gives whole outputs", func(ctx context.Context, v *Verb) error { return p.usual(ctx, verb).err })
		add(verb, "unknown parameters and requirements are refused", func(ctx context.Context, v *Verb) error { return p.refuses(ctx, verb, v) })
		add(verb, "the files that it loads are part of its source", func(ctx context.Context, v *Verb) error { return p.loaded(ctx, verb) })
		add(verb, "inputs stay as they are, and work/ is left empty", func(ctx context.Context, v *Verb) error { return p.tidy(ctx, verb) })
		add(verb, "the same task gives the same bytes", func(ctx context.Context, v *Verb) error { return p.repeats(ctx, verb, v) })
		add(verb, "each parameter changes the result", func(ctx context.Context, v *Verb) error { return p.parameters(ctx, verb, v) })
		switch verb {
		case Sample:
			add(verb, "each row has an image of its own, and other seeds give others", p.seeds)
			add(verb, "an image depends on its own row only", func(ctx context.Context, v *Verb) error { return p.alone(ctx, verb, v) })
			add(verb, "the noise depends on the seed only", p.noise)
		case Train:
			add(verb, "each random stream changes the result", p.streams)
			add(verb, "a stop saves the state, and the training goes on exactly", p.stops)
			add(verb, "a training that was killed goes on exactly", p.killed)
			add(verb, "the checkpoint gives the images that the trainer draws at its end", p.roundTrip)
		case Score, Embed:
			add(verb, "a row's value depends on the row only", func(ctx context.Context, v *Verb) error { return p.alone(ctx, verb, v) })
		}
		if verb != Train {
			add(verb, "a worker gives the bytes of a process for each task", func(ctx context.Context, v *Verb) error { return p.serves(ctx, verb, v) })
		}
	}
	return all
}

// last returns the folder of the last attempt.
func (p *probe) last() string { return filepath.Join(p.o.Dir, fmt.Sprint(p.n)) }

// A variant changes the usual task of a verb.
type variant struct {
	name    string // identifies it; empty is the usual task
	params  map[string]any
	seeds   map[string]int64
	rows    func([]Row) []Row
	require []string
	emit    []string
	tuned   bool // sample the trained checkpoint and not the base
	options Options
	save    time.Duration
	fresh   bool // do it again, although it was done before
}

func (p *probe) usual(ctx context.Context, verb string) *done { return p.do(ctx, verb, variant{}) }

// do does a task, once for each name of a variant.
func (p *probe) do(ctx context.Context, verb string, v variant) *done {
	key := verb + " " + v.name
	if d := p.tasks[key]; d != nil && !v.fresh {
		return d
	}
	d := &done{}
	t, err := p.task(ctx, verb, v)
	if err == nil {
		p.n++
		d.dir = p.last()
		prepare := v.options.Prepare
		v.options.Prepare = func(dir string) (err error) {
			if d.before, err = inputs(dir); err == nil && prepare != nil {
				err = prepare(dir)
			}
			return err
		}
		d.a, err = p.e.Run(ctx, t, d.dir, v.options)
	}
	if err == nil {
		d.sums, err = digests(filepath.Join(d.dir, outFolder))
	}
	if err == nil {
		d.after, err = inputs(d.dir)
	}
	d.err = err
	p.tasks[key] = d
	return d
}

// task returns the usual task of a verb, changed by a variant.
func (p *probe) task(ctx context.Context, verb string, v variant) (t Task, err error) {
	spec := p.d.Verbs[verb]
	t = Task{Verb: verb, Spec: spec, Action: "probe", Attempt: 1, Inputs: map[string]TaskInput{}, Seeds: map[string]int64{}, Require: v.require, Emit: v.emit,
		GPUs: p.o.GPUs, Devices: p.o.Devices, CPUs: p.o.CPUs, Grace: 5 * time.Minute, Silence: 30 * time.Minute, Time: time.Hour, SaveEvery: v.save}
	if t.Params, err = spec.Complete(p.d.Probe[verb]); err != nil {
		return t, fmt.Errorf("probe.%s: %w", verb, err)
	}
	for path, value := range v.params {
		t.Params[path] = value
	}
	prompts, texts := make([]Row, rowsOfProbe), p.d.Prompts
	if len(texts) == 0 {
		texts = probePrompts
	}
	for i := range prompts {
		prompts[i] = Row{Index: i, Prompt: texts[i%len(texts)], Seed: int64(1000 + 7*i)}
	}
	switch verb {
	case Sample:
		if v.rows != nil {
			prompts = v.rows(prompts)
		}
		t.Inputs[PromptsRole] = TaskInput{ID: "some prompts", Rows: prompts}
		err = p.checkpoint(ctx, &t, CheckpointRole, v.tuned)
	case Train:
		for i, name := range spec.Seeds {
			t.Seeds[name] = int64(11 + i)
		}
		maps.Copy(t.Seeds, v.seeds)
		if err = p.training(ctx, &t, prompts); err == nil && slices.Contains(v.emit, "samples") {
			t.Inputs[SamplesRole] = TaskInput{ID: "samples", Rows: prompts}
			t.Sampler, err = p.d.Verbs[Sample].Complete(p.d.Probe[Sample])
		}
	case Score, Embed:
		var images TaskInput
		if images, err = p.images(ctx, prompts); err == nil && v.rows != nil {
			images.Rows = v.rows(images.Rows)
		}
		t.Inputs[ImagesRole] = images
	}
	return t, err
}

// checkpoint adds a checkpoint, and those that it is based on, as inputs of a role.
func (p *probe) checkpoint(ctx context.Context, t *Task, role string, tuned bool) error {
	if tuned {
		d := p.usual(ctx, Train)
		if d.err != nil {
			return skipped("the training failed")
		}
		in := TaskInput{ID: "tuned", Files: filepath.Join(d.dir, outFolder, "checkpoint")}
		if p.d.Verbs[Load] != nil || p.o.Base != "" {
			in.Base = role + ".base"
			if err := p.checkpoint(ctx, t, in.Base, false); err != nil {
				return err
			}
		}
		t.Inputs[role] = in
		return nil
	}
	if p.o.Base != "" {
		t.Inputs[role] = TaskInput{ID: "base", Files: p.o.Base}
		return nil
	}
	if p.d.Verbs[Load] == nil {
		return skipped("the engine has no load, and no checkpoint is given with --base")
	}
	d := p.usual(ctx, Load)
	if d.err != nil {
		return skipped("load failed")
	}
	t.Inputs[role] = TaskInput{ID: "base", Files: filepath.Join(d.dir, outFolder, "checkpoint")}
	return nil
}

// training adds the inputs of a training.
func (p *probe) training(ctx context.Context, t *Task, prompts []Row) error {
	if t.Spec.Calls(t.Params) {
		if err := p.scorer(t); err != nil {
			return err
		}
	}
	for _, role := range t.Spec.Needs(t.Params) {
		switch role {
		case BaseRole:
			if err := p.checkpoint(ctx, t, BaseRole, false); err != nil {
				return err
			}
		case PromptsRole:
			t.Inputs[role] = TaskInput{ID: "some prompts", Rows: prompts}
		default:
			in, err := p.images(ctx, prompts)
			if err != nil {
				return err
			}
			for i := range in.Rows {
				x := float64(i) / rowsOfProbe
				in.Rows[i].Score, in.Rows[i].Label = &x, []string{"bad", "good"}[i%2]
			}
			if role == PairsRole {
				one := 1.
				rows := make([]Row, rowsOfProbe/2)
				for i := range rows {
					better, worse := 2*i+1, 2*i
					rows[i] = Row{Index: i, Prompt: prompts[better].Prompt, Better: &better, Worse: &worse, Weight: &one}
				}
				t.Inputs[ImagesRole], in.Rows, in.Files = in, rows, ""
			}
			t.Inputs[role] = in
		}
	}
	return nil
}

// scorer lets a training call the engine's own score.
func (p *probe) scorer(t *Task) error {
	v := p.d.Verbs[Score]
	if v == nil || !v.Serve {
		return skipped("it calls a scorer while it trains, and the engine has no score that serves")
	}
	params, err := v.Complete(p.d.Probe[Score])
	if err != nil {
		return fmt.Errorf("probe.score: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Columns)) {
		if c := v.Columns[name]; c.Kind == "real" && c.Better == "higher" {
			t.Scorers = map[string]TaskScorer{RewardScorer: {p.e, params, name}}
			return nil
		}
	}
	return skipped("it calls a scorer while it trains, and the engine scores no number that is better when it is higher")
}

// images returns the images of the usual sampling as an input, or drawn ones where the
// engine does not sample.
func (p *probe) images(ctx context.Context, prompts []Row) (TaskInput, error) {
	in := TaskInput{ID: "images"}
	if p.d.Verbs[Sample] != nil {
		d := p.usual(ctx, Sample)
		if d.err != nil {
			return in, skipped("sample failed")
		}
		in.Files = filepath.Join(d.dir, outFolder, "images")
		pictures, err := ReadPictures(in.Files, prompts)
		if err != nil {
			return in, err
		}
		for i, r := range prompts {
			r.Seed, r.File = 0, filesName+"/"+pictures[i].File
			in.Rows = append(in.Rows, r)
		}
		return in, nil
	}
	in.Files = filepath.Join(p.o.Dir, "pictures")
	for i, r := range prompts {
		name := fmt.Sprintf("%06d.png", i)
		if err := drawPicture(filepath.Join(in.Files, name), i); err != nil {
			return in, err
		}
		r.Seed, r.File = 0, filesName+"/"+name
		in.Rows = append(in.Rows, r)
	}
	return in, nil
}

// digests returns the SHA-256 of each regular file below a folder.
func digests(dir string) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sum, _, err := digestOf(path)
		out[filepath.ToSlash(rel)] = sum
		return err
	})
	return out, err
}

// inputs returns the digests of the files of in/, behind its links too.
func inputs(dir string) (map[string]string, error) {
	out := map[string]string{}
	roles, err := os.ReadDir(filepath.Join(dir, inFolder))
	for _, role := range roles {
		for _, below := range []string{"", filesName} {
			path := filepath.Join(dir, inFolder, role.Name(), below)
			real, err := filepath.EvalSymlinks(path)
			if err != nil {
				continue
			}
			sums, err := digests(real)
			if err != nil {
				return nil, err
			}
			for name, sum := range sums {
				out[filepath.Join(inFolder, role.Name(), below, name)] = sum
			}
		}
	}
	return out, err
}

// differ returns the first file in which two tasks differ, or "".
func differ(a, b map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if b[name] != a[name] {
			return "out/" + name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[name]; !ok {
			return "out/" + name
		}
	}
	return ""
}

func (p *probe) refuses(ctx context.Context, verb string, _ *Verb) error {
	if err := p.usual(ctx, verb).err; err != nil {
		return skipped("the usual task fails")
	}
	for _, v := range []variant{
		{name: "unknown parameter", params: map[string]any{"ablate_probe_unknown": int64(1)}},
		{name: "unknown requirement", require: []string{"ablate-probe-unknown"}},
	} {
		err := p.do(ctx, verb, v).err
		var task *TaskError
		switch {
		case err == nil:
			return &finding{found: "it accepts an " + v.name, do: "Refuse it with the status \"refused\": a typing error in a study would otherwise change nothing, silently."}
		case !errors.As(err, &task) || task.Status != Refused:
			return &finding{found: fmt.Sprintf("an %s does not give the status \"refused\": %v", v.name, err), do: "Write a result with the status \"refused\" and a message; the kit does that in its request."}
		}
	}
	return nil
}

// loaded compares the files that a program says it has loaded with those of its source.
func (p *probe) loaded(ctx context.Context, verb string) error {
	d := p.usual(ctx, verb)
	switch {
	case d.err != nil:
		return skipped("the usual task fails")
	case len(d.a.Sources) == 0:
		return skipped("its results do not list the files that were loaded (sources)")
	}
	list, err := p.e.sources(ctx)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(d.a.Sources)) {
		rel, err := filepath.Rel(p.e.Root, path)
		if err != nil || !slices.Contains(list, filepath.ToSlash(rel)) {
			return &finding{found: path + " was loaded, and is not one of the engine's source files", do: "Add it to source in the study: a change of it would otherwise not compute results again."}
		}
	}
	return nil
}

func (p *probe) tidy(ctx context.Context, verb string) error {
	d := p.usual(ctx, verb)
	if d.err != nil {
		return skipped("the usual task fails")
	}
	if at := differ(d.before, d.after); at != "" {
		return &finding{found: "it changed its input " + strings.TrimPrefix(at, "out/"), do: "Read inputs only: other tasks read the same files. Copy what must change to tmp/."}
	}
	left, err := digests(filepath.Join(d.dir, workFolder))
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return &finding{found: "it left work/" + slices.Sorted(maps.Keys(left))[0], do: "That is only untidy: work/ is deleted. If it is a result, write it below out/; if it is a cache, below tmp/."}
	}
	if d.a.Others > 0 {
		return &finding{found: fmt.Sprintf("%d processes still ran when the first one had ended", d.a.Others), do: "Wait for all processes that the program starts before it writes its result: ablate kills those that are left."}
	}
	return nil
}

func (p *probe) repeats(ctx context.Context, verb string, v *Verb) error {
	one := p.usual(ctx, verb)
	if one.err != nil {
		return skipped("the usual task fails")
	}
	if v.Repeat != "bytes" {
		return skipped("the engine does not claim it (repeat is \"" + v.Repeat + "\")")
	}
	two := p.do(ctx, verb, variant{name: "again"})
	if two.err != nil {
		return two.err
	}
	if at := differ(one.sums, two.sums); at != "" {
		return &finding{found: "two runs of one task differ in " + at, claim: "repeat", instead: "draws",
			do: "Seed every random number from the request, and use deterministic algorithms. Until then ablate counts the claim as \"draws\": the same random numbers, other rounding."}
	}
	return nil
}

// parameters checks that each parameter changes the result at one of two far values.
func (p *probe) parameters(ctx context.Context, verb string, v *Verb) error {
	usual := p.usual(ctx, verb)
	if usual.err != nil {
		return skipped("the usual task fails")
	}
	if v.Repeat != "bytes" {
		return skipped("results of one task differ anyway")
	}
	t, err := p.task(ctx, verb, variant{})
	if err != nil {
		return err
	}
	var idle, tried []string
	for _, path := range slices.Sorted(maps.Keys(t.Params)) {
		param := param(v.params, path)
		if param.Record {
			continue
		}
		values := slices.DeleteFunc(slices.Clone(v.tries[path]), func(x any) bool { return x == t.Params[path] })
		if len(values) == 0 {
			values = far(param, t.Params[path])
		}
		if len(values) == 0 {
			continue
		}
		tried = append(tried, path)
		changed := false
		for _, value := range values {
			d := p.do(ctx, verb, variant{name: fmt.Sprintf("%s=%v", path, value), params: map[string]any{path: value}})
			var task *TaskError
			if errors.As(d.err, &task) && task.Status != Refused && task.Status != Diverged && task.Class != Data {
				return fmt.Errorf("with %s = %v: %w", path, value, d.err)
			}
			// What fails or is refused for another value is looked at by the program.
			if changed = d.err != nil || differ(results(usual.sums), results(d.sums)) != ""; changed {
				break
			}
		}
		if !changed {
			idle = append(idle, path)
		}
	}
	if len(idle) > 0 {
		return &finding{found: "the result stays the same whatever these parameters are: " + strings.Join(idle, ", "),
			do: "Use the parameter, or leave it out of the description; if it matters only with other values of another parameter, say so with x-unused; if it never changes a result, mark it \"x-identity\": \"record\"."}
	}
	if len(tried) == 0 {
		return skipped("no parameter has another value to try")
	}
	return nil
}

// results returns the digests of outputs without curves: a curve may have a parameter that the
// training does not use.
func results(sums map[string]string) map[string]string {
	out := maps.Clone(sums)
	maps.DeleteFunc(out, func(name, _ string) bool { return strings.HasPrefix(name, "curves/") })
	return out
}

// far returns values of a parameter that are far from a value.
func far(p *language.Param, now any) []any {
	var out []any
	switch v := now.(type) {
	case bool:
		return []any{!v}
	case string:
		for _, e := range p.Enum {
			if e != v {
				out = append(out, e)
			}
		}
		return out // a text without a list has no other value that is known to be valid
	case int64:
		for _, x := range []int64{2*v + 1, v / 2, v + 1, v - 1} {
			if x != v && p.Within(float64(x)) && len(out) < 2 {
				out = append(out, x)
			}
		}
	case float64:
		for _, x := range []float64{v * 8, v / 8, v + .5, v - .5} {
			if x != v && p.Within(x) && len(out) < 2 {
				out = append(out, x)
			}
		}
	}
	return out
}

func (p *probe) seeds(ctx context.Context, v *Verb) error {
	one := p.usual(ctx, Sample)
	if one.err != nil {
		return skipped("the usual task fails")
	}
	if v.Repeat == "none" {
		return skipped("the engine has no seed (repeat is \"none\")")
	}
	same := p.do(ctx, Sample, variant{name: "one prompt", rows: func(rows []Row) []Row {
		for i := range rows {
			rows[i].Prompt = rows[0].Prompt
		}
		return rows
	}})
	if same.err != nil {
		return same.err
	}
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(same.sums)) {
		if !strings.HasSuffix(name, ".png") {
			continue
		}
		if other, ok := seen[same.sums[name]]; ok {
			return &finding{found: fmt.Sprintf("%s and %s are the same image, of one prompt and two seeds", other, name), do: "Draw the noise of each row from that row's seed."}
		}
		seen[same.sums[name]] = name
	}
	others := p.do(ctx, Sample, variant{name: "other seeds", rows: func(rows []Row) []Row {
		for i := range rows {
			rows[i].Seed += 500
		}
		return rows
	}})
	if others.err != nil {
		return others.err
	}
	for name, sum := range one.sums {
		if strings.HasSuffix(name, ".png") && others.sums[name] == sum {
			return &finding{found: name + " is the same image for another seed", do: "Draw the noise of each row from that row's seed."}
		}
	}
	return nil
}

// alone checks that rows give the same values in two tasks of half the rows.
func (p *probe) alone(ctx context.Context, verb string, v *Verb) error {
	all := p.usual(ctx, verb)
	switch {
	case all.err != nil:
		return skipped("the usual task fails")
	case v.Rows != "alone":
		return skipped("the engine computes rows together")
	case v.Repeat != "bytes":
		return skipped("results of one task differ anyway")
	}
	first := p.do(ctx, verb, variant{name: "first half", rows: func(rows []Row) []Row { return rows[:rowsOfProbe/2] }})
	second := p.do(ctx, verb, variant{name: "second half", rows: func(rows []Row) []Row { return rows[rowsOfProbe/2:] }})
	if err := errors.Join(first.err, second.err); err != nil {
		return err
	}
	whole, err := values(verb, all.dir)
	if err != nil {
		return err
	}
	for _, half := range []*done{first, second} {
		got, err := values(verb, half.dir)
		if err != nil {
			return err
		}
		for _, index := range slices.Sorted(maps.Keys(got)) {
			if whole[index] != got[index] {
				return &finding{found: fmt.Sprintf("row %d has another value in a task of %d rows than in one of %d", index, rowsOfProbe/2, rowsOfProbe), claim: "rows", instead: "together",
					do: "Compute each row by itself, with a generator of its own, or describe rows: \"together\", and ablate never splits its tasks. A difference of rounding alone comes from the size of a batch: make it a parameter, and pad the last batch."}
			}
		}
	}
	return nil
}

// values returns a digest of the value of each row of an output, by index.
func values(verb, dir string) (map[int]string, error) {
	out := map[int]string{}
	switch verb {
	case Sample:
		folder := filepath.Join(dir, outFolder, "images")
		return out, eachRow(folder, func(r OutputRow) error {
			sum, _, err := digestOf(filepath.Join(folder, filepath.FromSlash(r.File)))
			out[r.Index] = sum
			return err
		})
	case Score:
		return out, eachRow(filepath.Join(dir, outFolder, "scores"), func(r OutputRow) error {
			for _, name := range slices.Sorted(maps.Keys(r.Values)) {
				out[r.Index] += name + "=" + string(r.Values[name]) + "\n"
			}
			return nil
		})
	}
	folder := filepath.Join(dir, outFolder, "features")
	var rows []Row
	if err := lines(filepath.Join(folder, rowsFile), func(_ int, line []byte) error {
		var r OutputRow
		err := json.Unmarshal(line, &r)
		rows = append(rows, Row{Index: r.Index})
		return err
	}); err != nil {
		return nil, err
	}
	x, err := ReadFeatures(folder, rows)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		if x.Errors[i] == "" {
			sum := sha256.Sum256(fmt.Append(nil, x.Values[i*x.Dimension:(i+1)*x.Dimension]))
			out[r.Index] = hex.EncodeToString(sum[:])
		}
	}
	return out, nil
}

func (p *probe) noise(ctx context.Context, v *Verb) error {
	switch {
	case v.Noise == "":
		return skipped("the engine does not claim it (noise is absent): its images are paired by prompt only")
	case !slices.Contains(p.d.Understands, "emit:noise"):
		return skipped("the engine cannot show its noise (understands lacks \"emit:noise\")")
	}
	emit := []string{"noise"}
	base := p.do(ctx, Sample, variant{name: "noise", emit: emit})
	if base.err != nil {
		return base.err
	}
	want, err := noiseOf(base.dir)
	if err != nil {
		return &finding{found: err.Error(), claim: "noise", do: "Write emit/noise.safetensors with a tensor \"noise\", float32[rows, …], when the request asks for it."}
	}
	others := map[string]variant{
		"of a shorter list": {name: "noise short", emit: emit, rows: func(rows []Row) []Row { return rows[:rowsOfProbe/2] }},
		"in other places":   {name: "noise turned", emit: emit, rows: func(rows []Row) []Row { slices.Reverse(rows); return rows }},
	}
	if p.d.Verbs[Train] != nil && p.usual(ctx, Train).err == nil {
		others["of another checkpoint"] = variant{name: "noise tuned", emit: emit, tuned: true}
	}
	if batch := param(v.params, "batch"); batch != nil && batch.Kind == language.Whole {
		for _, n := range []int64{1, 4} {
			others[fmt.Sprintf("in batches of %d", n)] = variant{name: fmt.Sprintf("noise batch %d", n), emit: emit, params: map[string]any{"batch": n}}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		d := p.do(ctx, Sample, others[name])
		if d.err != nil {
			return d.err
		}
		got, err := noiseOf(d.dir)
		if err != nil {
			return err
		}
		for seed, sum := range got {
			if want[seed] != sum {
				return &finding{found: fmt.Sprintf("the noise of seed %d is another one %s", seed, name), claim: "noise",
					do: "Make one generator for each row, on the CPU, seeded by the row alone, and draw float32 of the latent's own shape. Until then comparisons are paired by prompt only."}
			}
		}
	}
	return nil
}

func (p *probe) streams(ctx context.Context, v *Verb) error {
	one := p.usual(ctx, Train)
	switch {
	case one.err != nil:
		return skipped("the usual task fails")
	case len(v.Seeds) == 0:
		return skipped("the engine declares no random stream")
	case v.Repeat != "bytes":
		return skipped("results of one task differ anyway")
	}
	for _, name := range v.Seeds {
		d := p.do(ctx, Train, variant{name: "stream " + name, seeds: map[string]int64{name: 987_654_321}})
		if d.err != nil {
			return d.err
		}
		if differ(one.sums, d.sums) == "" {
			return &finding{found: "another seed of the stream " + name + " gives the same bytes",
				do: "Draw what the stream stands for from its seed, or leave the stream out of the description: trials with other seeds would not be repetitions."}
		}
	}
	return nil
}

// stops asks a training to stop twice, and compares the end with that of an undisturbed one.
func (p *probe) stops(ctx context.Context, v *Verb) error {
	straight := p.usual(ctx, Train)
	switch {
	case straight.err != nil:
		return skipped("the usual task fails")
	case v.Stop == "none":
		return skipped("the engine cannot be asked to stop (stop is \"none\")")
	}
	state := filepath.Join(p.o.Dir, "state of stops")
	steps := []int{}
	for n := 0; n < 2; n++ {
		stopping, cancel := context.WithCancelCause(ctx)
		v := variant{name: "stop", fresh: true, options: Options{State: state, Prepare: func(dir string) error {
			// The request to stop is there from the beginning, so that the training stops after
			// its first step, and the next attempt after the second.
			return os.WriteFile(filepath.Join(dir, stopFile), []byte(`{"why":"user","grace_s":300}`+"\n"), 0o666)
		}}}
		timer := time.AfterFunc(100*time.Millisecond, func() { cancel(errProbeStop) })
		d := p.do(stopping, Train, v)
		timer.Stop()
		cancel(nil)
		var task *TaskError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case d.err == nil:
			return &finding{found: "it was asked to stop, and went on to its end", claim: "stop", instead: "none",
				do: "Look for the file stop after every step; save the state, write a result with the status \"stopped\", and end."}
		case errors.Is(d.err, errProbeStop), errors.As(d.err, &task) && strings.Contains(task.Message, "nobody has asked"):
		default:
			return &finding{found: "it was asked to stop, and failed: " + d.err.Error(), claim: "stop", instead: "none", do: "Save the state, write a result with the status \"stopped\", and end."}
		}
		r, err := resultOf(d.dir)
		if err != nil || r.Status != Stopped {
			return &finding{found: "it ended without the status \"stopped\"", claim: "stop", instead: "none", do: "After saving, write a result with the status \"stopped\" and the step."}
		}
		if len(statesIn(state)) == 0 {
			return &finding{found: "it stopped and saved nothing below state/", claim: "resume", instead: "none", do: "Save the weights, the optimizer, the position in the data and all random states below state/ before it ends."}
		}
		steps = append(steps, r.Step)
	}
	return p.resumed(ctx, v, straight, state, fmt.Sprintf("it was stopped at the steps %v", steps))
}

var errProbeStop = errors.New("the probe asks it to stop")

// resumed lets a training go on from its state, and compares its end.
func (p *probe) resumed(ctx context.Context, v *Verb, straight *done, state, what string) error {
	d := p.do(ctx, Train, variant{name: "resumed", fresh: true, options: Options{State: state}})
	if d.err != nil {
		return &finding{found: what + ", and cannot go on: " + d.err.Error(), claim: "resume", instead: "none", do: "Read the newest whole state below state/, and begin anew if there is none."}
	}
	if v.Resume != "exact" || v.Repeat != "bytes" {
		return nil
	}
	if at := differ(straight.sums, d.sums); at != "" {
		return &finding{found: fmt.Sprintf("%s; %s then differs from that of an undisturbed training", what, at), claim: "resume", instead: "approximate",
			do: "Save everything that the next step reads: the optimizer, the schedule, the order of the data and the position in it, and every generator of random numbers; or draw random numbers from (stream, step) without any state. Until then rows that were resumed are marked."}
	}
	return nil
}

func (p *probe) killed(ctx context.Context, v *Verb) error {
	straight := p.usual(ctx, Train)
	switch {
	case straight.err != nil:
		return skipped("the usual task fails")
	case v.Resume == "none":
		return skipped("the engine does not resume")
	}
	state := filepath.Join(p.o.Dir, "state of kills")
	kills, states := 0, 1 // kills when so many states were saved: a fault may show at some steps only
	for try := 0; try < 12 && kills < 3; try++ {
		if err := os.RemoveAll(state); err != nil {
			return err
		}
		killing, cancel := context.WithCancelCause(ctx)
		var watched chan struct{}
		d := p.do(killing, Train, variant{name: "killed", fresh: true, save: time.Millisecond, options: Options{State: state, Prepare: func(dir string) error {
			watched = make(chan struct{})
			go func() {
				defer close(watched)
				for saved := map[string]bool{}; killing.Err() == nil && len(saved) < states; time.Sleep(100 * time.Microsecond) {
					for _, name := range statesIn(state) {
						saved[name] = true
					}
				}
				for _, pid := range byFolder(dir) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}()
			return nil
		}}})
		cancel(errProbeStop)
		if watched != nil {
			<-watched
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if d.err == nil {
			if len(statesIn(state)) == 0 {
				return skipped("it saved no state before it ended, although it was asked to save every millisecond")
			}
			states = 1
			continue // it was too fast
		}
		if err := p.resumed(ctx, v, straight, state, "it was killed"); err != nil {
			return err
		}
		kills++
		states++
	}
	if kills == 0 {
		return skipped("the training ended each time before it could be killed: give it more steps in the probe's parameters")
	}
	return nil
}

// statesIn returns the entries of a folder of states, without those that are being written, whose
// names begin with a dot.
func statesIn(dir string) (names []string) {
	list, _ := os.ReadDir(dir)
	for _, d := range list {
		if !strings.HasPrefix(d.Name(), ".") {
			names = append(names, d.Name())
		}
	}
	return names
}

// byFolder returns the processes of the attempt of a folder.
func byFolder(dir string) []int { return having("ABLATE_DIR=" + dir) }

func resultOf(dir string) (*Result, error) {
	data, err := readSmall(filepath.Join(dir, resultFile), mostResult)
	if err != nil {
		return nil, err
	}
	return ParseResult(data)
}

// roundTrip compares the images that a trainer draws of its own weights at the end with
// those that are drawn of its checkpoint.
func (p *probe) roundTrip(ctx context.Context, v *Verb) error {
	if !slices.Contains(p.d.Understands, "emit:samples") {
		return skipped("the trainer cannot draw images at its end (understands lacks \"emit:samples\")")
	}
	if p.d.Verbs[Sample] == nil {
		return skipped("the engine does not sample")
	}
	trained := p.do(ctx, Train, variant{name: "samples", emit: []string{"samples"}})
	if trained.err != nil {
		return trained.err
	}
	drawn, err := emittedImages(trained.dir)
	if err != nil || len(drawn) != rowsOfProbe {
		return &finding{found: fmt.Sprintf("it was asked for %d images of its own weights, and wrote %d (%v)", rowsOfProbe, len(drawn), err),
			do: "Draw the rows of the input samples with the parameters that the request has under samples, and write emit/samples/INDEX.png."}
	}
	tuned := p.do(ctx, Sample, variant{name: "tuned", tuned: true})
	if tuned.err != nil {
		return tuned.err
	}
	got, err := values(Sample, tuned.dir)
	if err != nil {
		return err
	}
	for index, sum := range drawn {
		if got[index] != sum {
			return &finding{found: fmt.Sprintf("image %d of the checkpoint is not the one that the trainer drew of its own weights", index),
				do: "The checkpoint does not say everything: for LoRA save rank, alpha and the base; save averaged weights under their own name."}
		}
	}
	return nil
}

// serves compares a worker that does several tasks with a process for each.
func (p *probe) serves(ctx context.Context, verb string, v *Verb) error {
	usual := p.usual(ctx, verb)
	switch {
	case usual.err != nil:
		return skipped("the usual task fails")
	case !v.Serve:
		return skipped("the engine does not claim it (serve is absent)")
	case v.Repeat != "bytes":
		return skipped("results of one task differ anyway")
	}
	tasks := []variant{{name: "served"}, {name: "served again"}}
	if verb == Sample && p.d.Verbs[Train] != nil && p.usual(ctx, Train).err == nil {
		tasks = []variant{{name: "served"}, {name: "served tuned", tuned: true}, {name: "served again"}}
	}
	w, err := p.e.Serve(p.o.GPUs, p.o.Devices, p.o.CPUs)
	if err != nil {
		return err
	}
	defer w.Close()
	bad := func(text string) error {
		return &finding{found: text, claim: "serve", do: "Leave nothing of one task to the next: work on copies of weights, unload adapters, reset every setting. Until then each task gets a process of its own."}
	}
	for _, t := range tasks {
		t.options.Worker = w
		d := p.do(ctx, verb, t)
		if d.err != nil {
			return bad("a task fails in a worker: " + d.err.Error())
		}
		want := usual
		if t.tuned {
			if want = p.do(ctx, verb, variant{name: "tuned", tuned: true}); want.err != nil {
				return want.err
			}
		}
		if at := differ(want.sums, d.sums); at != "" {
			return bad(fmt.Sprintf("%s of a worker differs from that of a process of its own (%s)", at, t.name))
		}
	}
	return nil
}
