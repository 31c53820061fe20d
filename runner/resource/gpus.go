package resource

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// visible is the variable by which CUDA limits the GPUs of a process.
const visible = "CUDA_VISIBLE_DEVICES"

// GPUs returns the GPUs that this process may use, and what lists them: those that
// CUDA_VISIBLE_DEVICES names, which Slurm sets too, or else those of nvidia-smi.
func GPUs(ctx context.Context) ([]GPU, string) { return gpusOf(os.LookupEnv, smi(ctx)) }

// jobGPUs returns the GPUs that this process may use of those of its Slurm job.
func jobGPUs(ctx context.Context) ([]GPU, string) {
	list, why := GPUs(ctx)
	if n, by, ok := slurmGPUs(os.Getenv); ok && n < len(list) {
		return list[:n], by
	}
	return list, why
}

// GPUModels returns the models of the machine's GPUs with their driver, each once, as nvidia-smi
// prints them: "NVIDIA H100 80GB HBM3, 550.54.15".
func GPUModels(ctx context.Context) []string { return distinct(query(ctx, "name,driver_version")) }

// GPUNames returns the names of the models of the machine's GPUs, each once: "NVIDIA H100 80GB HBM3".
// It is empty if there is no GPU, or none can be listed.
func GPUNames(ctx context.Context) string { return strings.Join(distinct(query(ctx, "name")), "; ") }

func distinct(lines string) []string {
	list := slices.Collect(strings.SplitSeq(strings.TrimSpace(lines), "\n"))
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == "" })
}

// smi returns what nvidia-smi prints of the machine's GPUs, a line "INDEX, UUID, MIB" each;
// "" if it prints nothing.
func smi(ctx context.Context) string { return query(ctx, "index,uuid,memory.total") }

func query(ctx context.Context, fields string) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu="+fields, "--format=csv,noheader,nounits").Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// gpusOf returns the GPUs of CUDA_VISIBLE_DEVICES with their memory from the output of
// nvidia-smi, or those of that output.
func gpusOf(lookup func(string) (string, bool), output string) (list []GPU, why string) {
	type listed struct {
		index string
		gpu   GPU
	}
	var all []listed
	least := int64(0) // memory of the smallest one
	for line := range strings.Lines(output) {
		f := strings.Split(line, ",")
		if len(f) != 3 {
			continue
		}
		mib, _ := strconv.ParseInt(strings.TrimSpace(f[2]), 10, 32) // 0 where it is not a number, as for parts of a GPU
		g := GPU{ID: strings.TrimSpace(f[1]), Memory: max(0, mib) << 20}
		if len(all) == 0 || g.Memory < least {
			least = g.Memory
		}
		all = append(all, listed{strings.TrimSpace(f[0]), g})
	}
	ids, set := lookup(visible)
	if !set {
		for _, l := range all {
			list = append(list, l.gpu)
		}
		return list, "nvidia-smi"
	}
	order, _ := lookup("CUDA_DEVICE_ORDER")
	for id := range strings.SplitSeq(ids, ",") {
		id = strings.TrimSpace(id)
		if id == "" || id == "-1" || strings.EqualFold(id, "NoDevFiles") { // CUDA ignores what comes after it
			break
		}
		g := GPU{ID: id}
		_, err := strconv.Atoi(id)
		for _, l := range all {
			if l.gpu.ID == id || l.index == id && order == "PCI_BUS_ID" {
				g.Memory = l.gpu.Memory
			}
		}
		if err == nil && order != "PCI_BUS_ID" { // CUDA's numbers need not be those of nvidia-smi
			g.Memory = least
		}
		list = append(list, g)
	}
	return list, visible
}

// slurmGPUs returns the number of GPUs of the Slurm job on this node, false if it is not known.
func slurmGPUs(getenv func(string) string) (int, string, bool) {
	if getenv("SLURM_JOB_ID") == "" {
		return 0, "", false
	}
	if list := getenv("SLURM_JOB_GPUS"); list != "" {
		return strings.Count(list, ",") + 1, "SLURM_JOB_GPUS", true
	}
	n, err := strconv.Atoi(getenv("SLURM_GPUS_ON_NODE"))
	return n, "SLURM_GPUS_ON_NODE", err == nil && n >= 0
}
