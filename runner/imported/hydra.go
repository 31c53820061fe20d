package imported

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ablate/runner/rows"
)

// metricFiles are the names of files in which Hydra jobs often write their metrics. The
// first that exists in a job's folder is read.
var metricFiles = [...]string{"metrics.json", "results.json", "eval.json", "metrics.csv", "results.csv"}

const hydraFolder = ".hydra"

func (s source) isHydra() bool {
	return s.dir && below(s.path, func(name string) bool { return name == hydraFolder })
}

// job is one run of a Hydra multirun.
type job struct {
	dir       string
	file      int32             // number of the file with its overrides
	config    map[string]string // values by key; nested keys are joined by points
	overrides map[string]string
	name      string // hydra.job.name
}

// value returns the value of a key: that of the command line, or else that of the
// configuration.
func (j *job) value(key string) string { return cmp.Or(j.overrides[key], j.config[key]) }

// readHydra reads the jobs of a multirun. Overrides that differ between jobs become axes.
func (c *collector) readHydra(s source) {
	jobs := c.jobs(s.path)
	if len(jobs) == 0 {
		return
	}
	var keys []string
	for _, j := range jobs {
		keys = append(keys, slices.Collect(maps.Keys(j.overrides))...)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	// An override is more likely than a key that only the configuration has.
	guess := func(wanted []string, lists ...[]string) string {
		for _, list := range lists {
			if i := guessName(list, wanted); i >= 0 {
				return list[i]
			}
		}
		return ""
	}
	seedKey := cmp.Or(c.o.Columns["seed"], guess(seedNames, keys, slices.Sorted(maps.Keys(jobs[0].config))))
	armKey := cmp.Or(c.o.Columns["arm"], guess(armNames, keys))
	if !c.keys(jobs, seedKey, armKey) {
		return
	}
	axes, same := slices.Clone(c.o.Axes), []string(nil)
	for _, k := range keys {
		if k == seedKey || k == armKey || slices.Contains(axes, k) {
			continue
		}
		if slices.ContainsFunc(jobs, func(j *job) bool { return j.value(k) != jobs[0].value(k) }) {
			axes = append(axes, k)
		} else {
			same = append(same, k)
		}
	}
	base := filepath.Base(s.path)
	from := "the name of the Hydra job"
	if armKey != "" {
		from = "the key " + armKey
	}
	c.note("%s: jobs of Hydra; the arm is %s, the seed is the key %s, axes are %s", base, from, seedKey, cmp.Or(list(axes), "none"))
	if len(same) > 0 {
		c.note("%s: overrides that all jobs share are not axes: %s", base, list(same))
	}
	for _, j := range jobs {
		if c.stopped() {
			return
		}
		at := place{j.file, 0}
		arm := cmp.Or(j.name, base)
		if armKey != "" {
			arm = j.value(armKey)
		}
		var values []axisValue
		for _, k := range axes {
			values = append(values, axisValue{c.axis(at, k), j.value(k)})
		}
		if r := c.run(at, arm, j.value(seedKey), values); r != nil {
			c.readJob(j, r)
		}
	}
}

// keys reports a problem for each key of seeds, arms or axes that no job has. It returns
// false if there is one.
func (c *collector) keys(jobs []*job, seedKey, armKey string) bool {
	ok := true
	lack := func(what, do string) {
		c.problem(Unreadable, place{jobs[0].file, 0}, what, "a key of the configuration, such as "+list(slices.Sorted(maps.Keys(jobs[0].config))), do)
		ok = false
	}
	has := func(key string) bool {
		return slices.ContainsFunc(jobs, func(j *job) bool { return j.value(key) != "" })
	}
	if seedKey == "" {
		lack("no key is one of seeds", "name it, as in seed=KEY")
	} else if !has(seedKey) {
		lack("no job has a value of "+quote(seedKey)+" for its seed", "name another, as in seed=KEY")
	}
	if armKey != "" && !has(armKey) {
		lack("no job has a value of "+quote(armKey)+" for its arm", "name another, as in arm=KEY")
	}
	for _, key := range c.o.Axes {
		if !has(key) {
			lack("no job has a value of "+quote(key)+", which is to be an axis", "correct the name of the axis")
		}
	}
	return ok
}

// jobs finds the jobs below a folder. The folder of a job contains a folder .hydra.
func (c *collector) jobs(root string) []*job {
	var jobs []*job
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if c.stopped() {
			return fs.SkipAll
		}
		if !d.IsDir() || d.Name() != hydraFolder {
			return nil
		}
		j := &job{dir: filepath.Dir(path), file: c.file(filepath.Join(path, "overrides.yaml")), overrides: map[string]string{}}
		node, err := readYAML(filepath.Join(path, "overrides.yaml"))
		if err != nil {
			c.badFile(j.file, err)
			return fs.SkipDir
		}
		for _, o := range sequence(node) {
			key, value := override(o)
			j.overrides[key] = value
		}
		configFile := filepath.Join(path, "config.yaml")
		if node, err = readYAML(configFile); err != nil {
			c.badFile(c.file(configFile), err)
			return fs.SkipDir
		}
		j.config = flatten(node)
		if node, err := readYAML(filepath.Join(path, "hydra.yaml")); err == nil {
			j.name = flatten(node)["hydra.job.name"]
		}
		jobs = append(jobs, j)
		return fs.SkipDir
	})
	if err != nil {
		c.unreadable(c.file(root), err)
	}
	return jobs
}

// readJob reads the metrics of a job.
func (c *collector) readJob(j *job, r *run) {
	names := metricFiles[:]
	if c.o.File != "" {
		names = []string{c.o.File}
	}
	for _, name := range names {
		path := filepath.Join(j.dir, name)
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		file := c.file(path)
		if !info.Mode().IsRegular() {
			c.problem(Unreadable, place{file, 0}, "it is not a file", "a file with metrics", "name the file with the metrics of a job")
			return
		}
		if strings.EqualFold(filepath.Ext(name), ".json") {
			c.readObject(path, file, r)
			return
		}
		s := source{path: path}
		if s.head, err = readHead(path); err != nil {
			c.unreadable(file, err)
			return
		}
		c.readRows(s, file, r, (*collector).plain)
		return
	}
	events, _ := filepath.Glob(filepath.Join(escapeGlob(j.dir), "*tfevents*"))
	if c.o.File == "" && len(events) > 0 {
		c.readJobEvents(events, r)
		return
	}
	c.problem(Unfinished, place{j.file, 0}, fmt.Sprintf("the job of %s has no metrics", c.view(r)), strings.Join(names, ", "), "run it again, or name the file with the metrics")
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

func (c *collector) readJobEvents(paths []string, r *run) {
	values := map[string]logged{}
	for _, path := range paths {
		c.readEvents(path, c.file(path), func(name string, v logged) {
			if old, ok := values[name]; !ok || v.later(old.scalar) {
				values[name] = v
			}
		}, func(string) {})
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if v := values[name]; c.metric(v.at, name) >= 0 {
			c.value(r, c.metric(v.at, name), v.value, 0, v.at)
		}
	}
}

// readObject reads a JSON file whose numbers are metrics. The number NAME.n is the number
// of samples behind the metric NAME.
func (c *collector) readObject(path string, file int32, r *run) {
	b, err := readSmall(path)
	if err != nil {
		c.badFile(file, err)
		return
	}
	at := place{file, 0}
	b, ok := rows.ValidJSON(b)
	if !ok || !strings.HasPrefix(strings.TrimSpace(string(b)), "{") {
		c.problem(Unreadable, at, "it is not a JSON object", "an object whose numbers are metrics", "check how it was written")
		return
	}
	values := map[string]string{}
	w := rows.Walker{Emit: func(key []byte, value string) { values[string(key)] = value }}
	w.Object([]byte(strings.TrimSpace(string(b))))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		x, ok := parseNumber(values[name])
		base, is := strings.CutSuffix(name, countSuffix)
		if _, both := values[base]; !ok || isSeedName(name) || is && both {
			continue
		}
		id, n := c.metric(at, name), int64(0)
		if id < 0 {
			continue
		}
		if text, has := values[name+countSuffix]; has {
			if n, ok = parseCount(text); !ok {
				c.problem(BadValue, at, fmt.Sprintf("%s of %s is not a number of samples", quote(text), name+countSuffix), "a whole number from 1 to 1e9", "correct it")
				continue
			}
		}
		c.value(r, id, x, n, at)
	}
}
