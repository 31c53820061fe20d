package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ablate/runner/engine"
)

// This file has an engine that does nothing, and studies on it: what remains of their time is
// the protocol's. The command of the engine is BENCH engine SHARD LOG: the most rows of a task,
// and a file that gets a line with the seconds of each task.

// engineMain is the program of the engine.
func engineMain(args []string) error {
	shard, log := args[0], args[1]
	switch args[2] {
	case "describe":
		return os.WriteFile(args[3], fmt.Appendf(nil, `{"protocols": [1], "name": "nothing", "verbs": {
"load": {"revision": 1},
"sample": {"revision": 1, "serve": true, "shard": %s, "formats": ["nothing"]},
"train": {"revision": 1, "format": "nothing", "inputs": {"base": {}, "images": {}}},
"score": {"revision": 1, "serve": true, "shard": %[1]s, "columns": {"worth": {}, "verdict": {"kind": "verdict"}}}}}`, shard), 0o666)
	case "run":
		return timed(log, args[3])
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := timed(log, lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// timed does the task of a folder, and appends its seconds to the log.
func timed(log, dir string) error {
	start := time.Now()
	if err := do(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, time.Since(start).Seconds()); err != nil {
		return err
	}
	// The task ends with this file, after which a worker's folder may be gone.
	result := filepath.Join(dir, "result.json")
	if err := os.WriteFile(result+".new", []byte(`{"protocol": 1, "status": "ok"}`), 0o666); err != nil {
		return err
	}
	return os.Rename(result+".new", result)
}

// do writes the outputs of the task of a folder.
func do(dir string) error {
	var request struct {
		Verb   string
		Inputs map[string]struct{ ID string }
	}
	data, err := os.ReadFile(filepath.Join(dir, "request.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &request); err != nil {
		return err
	}
	put := func(name string, data []byte) error {
		name = filepath.Join(dir, "out", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		return os.WriteFile(name, data, 0o666)
	}
	switch request.Verb {
	case "load":
		return put("checkpoint/checkpoint.json", []byte(`{"format": "nothing"}`))
	case "train":
		if err := put("curves/rows.jsonl", []byte("{\"step\": 1, \"loss\": 0}\n")); err != nil {
			return err
		}
		return put("checkpoint/checkpoint.json", fmt.Appendf(nil, `{"format": "nothing", "base": %q}`, request.Inputs["base"].ID))
	case "sample":
		black := image.NewRGBA(image.Rect(0, 0, 16, 16))
		draw.Draw(black, black.Rect, image.Black, image.Point{}, draw.Src) // opaque pictures have no alpha in the file
		var picture bytes.Buffer
		if err := png.Encode(&picture, black); err != nil {
			return err
		}
		return rows(dir, engine.PromptsRole, engine.ImagesRole, put, func(index int) (string, error) {
			file := strconv.Itoa(index) + ".png"
			return fmt.Sprintf(`"file": %q`, file), put(filepath.Join("images", file), picture.Bytes())
		})
	default: // score
		return rows(dir, engine.ImagesRole, "scores", put, func(index int) (string, error) {
			return fmt.Sprintf(`"values": {"worth": %d, "verdict": "%s"}`, index%7, []string{"good", "bad"}[index%2]), nil
		})
	}
}

// rows writes a row of an output for each row of an input.
func rows(dir, in, out string, put func(string, []byte) error, fields func(index int) (string, error)) error {
	f, err := os.Open(filepath.Join(dir, "in", in, "rows.jsonl"))
	if err != nil {
		return err
	}
	defer f.Close()
	var text bytes.Buffer
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var row struct{ Index int }
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return err
		}
		more, err := fields(row.Index)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "{\"index\": %d, %s}\n", row.Index, more)
	}
	return put(out+"/rows.jsonl", text.Bytes())
}

// studyText is a study on the engine: seeds, most rows of a task, number of images.
const studyText = `package nothing

import "ablate.internal/schema"

schema.#Study & {
	seeds: %s
	engines: nothing: {command: [%q, "engine", "%d", %q], source: ["engine.txt"]}
	base: {
		model: program: engine: "nothing"
		prompts: {train: "train.txt", evaluate: "evaluate.txt"}
		feedback: {labelled: 0, unlabelled: 16}
		reward: program: {engine: "nothing", column: "worth"}
		finetune: engine: "nothing"
		evaluate: {images: %d, gold: {engine: "nothing", column: "verdict"}}
	}
	arms: {
		"trained": set: {}
		"pretrained": set: finetune: method: "none"
	}
}
`

// engines measures studies on the engine that does nothing, in rounds, and prints what the
// runner adds.
func engines(ablate, dir string, images, n int) error {
	dir, err := os.MkdirTemp(dir, "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	used, err := meter()
	if err != nil {
		return err
	}
	var chain, within, again, describe, kept, ratio, processors, alone, parts []float64
	for i := range n {
		at := filepath.Join(dir, strconv.Itoa(i))
		first, err := twice(ablate, filepath.Join(at, "chain"), "[1, 2]", 256, 16, "-j", "1")
		if err != nil {
			return err
		}
		chain, within, again = append(chain, first.beyond), append(within, first.within), append(again, first.again)
		fmt.Printf("round %d: %d actions beyond the engine %.2f s (first to last action: %.2f s), again %.2f s\n", i+1, first.actions, first.beyond, first.within, first.again)
		d, k, err := described(filepath.Join(at, "describe"))
		if err != nil {
			return err
		}
		describe, kept = append(describe, d), append(kept, k)
		// The first of a pair pays for what the second finds: the order changes.
		shards := []int{images, 256}
		if i%2 == 1 {
			slices.Reverse(shards)
		}
		took := map[int]measured{}
		for _, shard := range shards {
			m, err := twice(ablate, filepath.Join(at, strconv.Itoa(shard)), "[1]", shard, images, "-j", "1", "--only", "pretrained")
			if err != nil {
				return err
			}
			took[shard] = m
			fmt.Printf("round %d: %d images in tasks of at most %d rows: %.2f s, of which the engine %.2f s; %.2f s of processors; %d actions\n", i+1, images, shard, m.wall, m.engine, m.processor, m.actions)
		}
		one, many := took[images], took[256]
		alone, parts = append(alone, one.wall), append(parts, many.wall)
		ratio, processors = append(ratio, many.wall/one.wall-1), append(processors, many.processor/one.processor-1)
	}
	fmt.Println(used())
	for _, l := range []struct {
		what   string
		list   []float64
		format string
	}{
		{"a study of small actions, beyond the engine's time", chain, "%.2f s"},
		{"the same, from the first action to the last", within, "%.2f s"},
		{"the same, when everything is cached", again, "%.2f s"},
		{"describe of the template in Python", describe, "%.2f s"},
		{"describe, cached", kept, "%.4f s"},
		{fmt.Sprintf("%d images in one task", images), alone, "%.1f s"},
		{fmt.Sprintf("%d images in tasks of 256", images), parts, "%.1f s"},
		{"tasks of 256, beyond one task, as a share of it", ratio, "%+.3f"},
		{"the same of the time of processors", processors, "%+.3f"},
	} {
		slices.Sort(l.list)
		fmt.Printf("%-58s median "+l.format+" ("+l.format+" to "+l.format+")\n", l.what, l.list[len(l.list)/2], l.list[0], l.list[len(l.list)-1])
	}
	return nil
}

// A measured is a run of a study on the engine, in seconds.
type measured struct {
	wall, engine, beyond float64 // of the command, of the engine's tasks, and their difference
	processor            float64 // time of processors of the command and all that it starts
	within               float64 // from the first action to the last, without the engine's tasks
	again                float64 // of the command when everything is cached
	actions              int
}

// twice makes a module with the study in a new folder and runs it two times.
func twice(ablate, dir, seeds string, shard, images int, args ...string) (m measured, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	log := filepath.Join(dir, "log")
	prompts := func(word string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintln(&b, word, i)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"cue.mod/module.cue":   "module: \"example.com/bench@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"engine.txt":           "nothing\n",
		"nothing/study.cue":    fmt.Sprintf(studyText, seeds, self, shard, log, images),
		"nothing/train.txt":    prompts("a cat", 16),
		"nothing/evaluate.txt": prompts("a dog", images),
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return m, err
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			return m, err
		}
	}
	command := func() (out []byte, seconds, processor float64, err error) {
		cmd := exec.Command(ablate, append([]string{"run", "nothing", "--store", "store"}, args...)...)
		cmd.Dir = dir
		used, start := spent(), time.Now()
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
		return out, time.Since(start).Seconds(), spent() - used, err
	}
	out, wall, processor, err := command()
	if err != nil {
		return m, err
	}
	ran := regexp.MustCompile(`"ran":(\d+)`).FindSubmatch(out)
	if ran == nil {
		return m, fmt.Errorf("the log of %s does not have the number of actions that ran: %s", ablate, out)
	}
	if m.actions, err = strconv.Atoi(string(ran[1])); err != nil {
		return m, err
	}
	data, err := os.ReadFile(log)
	if err != nil {
		return m, err
	}
	for _, text := range strings.Fields(string(data)) {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return m, err
		}
		m.engine += seconds
	}
	_, within, err := read(filepath.Join(dir, "store"), "nothing", time.Time{})
	if err != nil {
		return m, err
	}
	m.wall, m.processor, m.beyond, m.within = wall, processor, wall-m.engine, within-m.engine
	_, m.again, _, err = command()
	return m, err
}

// described returns the seconds that the description of the template in Python takes, the
// first time and when it is cached.
func described(dir string) (first, cached float64, err error) {
	program, err := engine.Write(dir, "python")
	if err != nil {
		return 0, 0, err
	}
	e := engine.Engine{Name: "template", Root: dir, Command: []string{"python3", program}, Source: []string{"*.py"}}
	once := func() (float64, error) {
		start := time.Now()
		_, err := e.Describe(context.Background(), filepath.Join(dir, "cache"))
		return time.Since(start).Seconds(), err
	}
	if first, err = once(); err != nil {
		return 0, 0, err
	}
	cached, err = once()
	return first, cached, err
}
