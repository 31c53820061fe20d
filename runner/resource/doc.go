// Package resource describes what an action needs of a machine (CPUs, GPUs, memory, time),
// what this process may use of it, and which actions fit beside each other.
//
// [Here] finds what this process may use: by its CPU affinity, the quotas of its control
// group and of all groups above it, the allocation of its Slurm job, and nvidia-smi. An
// [Allocator] hands it out as grants. A GPU belongs to one grant alone, unless all of its
// grants have a declared amount of its memory.
//
// Nothing here is in the key of an action. But the number of threads may change the last
// digits of what XLA computes on the CPU: with two threads instead of one, all 175 artifacts
// of experiments/tiny were the same, and in one seed of experiments/quickstart the fine-tuning
// was another, and all other stages that read the same were the same. So more threads than one
// are a line of the environment that is kept with a result (runner/run, Machine.Of).
package resource
