package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// An EstimateRequest is the file that "CMD estimate REQUEST ANSWER" reads. ablate writes it.
type EstimateRequest struct {
	Protocol int            `json:"protocol"` // version of the protocol
	Tasks    []EstimateTask `json:"tasks"`
}

// An EstimateTask is what an engine is asked to estimate, before any of its inputs is there.
type EstimateTask struct {
	Verb   string         `json:"verb"`           // "sample", "train", "score" or "embed"; a verb with "estimate"
	Params map[string]any `json:"params"`         // every parameter of the verb that the task uses, nested
	Load   map[string]any `json:"load,omitempty"` // of sample and train: the same of the model's load; absent if another engine loads it
	Rows   int            `json:"rows,omitempty"` // of row verbs: number of rows
	GPUs   int            `json:"gpus"`           // number of GPUs that the task will have
	CPUs   int            `json:"cpus"`           // number of CPUs that it will have
}

// An EstimateAnswer is the file that the engine writes, with an estimate for each task, in order.
type EstimateAnswer struct {
	Tasks []Estimate `json:"tasks"`
}

// An Estimate is what a task is expected to need. 0 means that the engine does not know.
type Estimate struct {
	Flops     float64 `json:"flops,omitempty"`      // floating-point operations of the whole task; a multiplication and an addition are two
	Memory    int64   `json:"memory,omitempty"`     // largest main memory of its processes, in bytes
	GPUMemory int64   `json:"gpu_memory,omitempty"` // largest memory of each of its GPUs, in bytes
	Disk      int64   `json:"disk,omitempty"`       // size of its outputs, in bytes
	Error     string  `json:"error,omitempty"`      // why there is no estimate
}

// estimateTime is how long an engine may take to estimate tasks. One that compiles needs minutes.
const estimateTime = 10 * time.Minute

// ParseEstimates reads an answer to n tasks.
func ParseEstimates(data []byte, n int) ([]Estimate, error) {
	var a EstimateAnswer
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, err
	}
	if len(a.Tasks) != n {
		return nil, fmt.Errorf("it has %d estimates; must have one for each of %d tasks", len(a.Tasks), n)
	}
	for i, e := range a.Tasks {
		if e.Flops < 0 || math.IsInf(e.Flops, 0) || e.Memory < 0 || e.GPUMemory < 0 || e.Disk < 0 {
			return nil, fmt.Errorf("estimate %d has a number below 0", i)
		}
	}
	return a.Tasks, nil
}

// Estimate asks the engine what tasks will need, whose parameters are by dotted path. Answers are
// cached in the folder cache by the engine's identity, which Identity returns; an empty cache keeps none. asks
// is called before the engine is asked about n tasks.
func (e *Engine) Estimate(ctx context.Context, cache, identity string, tasks []EstimateTask, asks func(n int)) ([]Estimate, error) {
	tasks = slices.Clone(tasks)
	for i := range tasks {
		if tasks[i].Params = nested(tasks[i].Params); tasks[i].Load != nil {
			tasks[i].Load = nested(tasks[i].Load)
		}
	}
	out, names := make([]Estimate, len(tasks)), make([]string, len(tasks))
	var asked []int
	for i, t := range tasks {
		text, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		if cache != "" && identity != "" {
			sum := sha256.Sum256(fmt.Appendf(nil, "estimate\n%s\n%q\n%q\n%s", identity, e.argv(0), e.environment(nil), text))
			names[i] = filepath.Join(cache, "estimates", hex.EncodeToString(sum[:16])+".json")
			if data, err := os.ReadFile(names[i]); err == nil && json.Unmarshal(data, &out[i]) == nil {
				continue
			}
		}
		asked = append(asked, i)
	}
	if len(asked) == 0 {
		return out, nil
	}
	asks(len(asked))
	q, threads := EstimateRequest{Protocol: Protocol}, 1
	for _, i := range asked {
		q.Tasks, threads = append(q.Tasks, tasks[i]), max(threads, tasks[i].CPUs)
	}
	data, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if data, err = e.ask(ctx, question{command: "estimate", sees: Load, limit: estimateTime, request: data, threads: threads}); err != nil {
		return nil, err
	}
	answers, err := ParseEstimates(data, len(asked))
	if err != nil {
		return nil, e.errorf("its estimates are not valid: %w", err)
	}
	for k, i := range asked {
		out[i] = answers[k]
		if data, err := json.Marshal(out[i]); err == nil && names[i] != "" && out[i].Error == "" {
			_ = writeWhole(names[i], data, 0o666) // the cache only saves time
		}
	}
	return out, nil
}
