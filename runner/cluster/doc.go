// Package cluster starts workers on other machines, by Slurm or by any command line, and
// waits until the study is computed. The workers find their work in the run file and divide
// it by claims in the store (runner/store); this package only starts as many of them as are
// wanted, and again if they ended before the work did.
package cluster

import (
	"os"
	"strings"
)

// Job names the job of a cluster's scheduler in which this process runs, or is empty.
func Job() string {
	for _, s := range []struct{ name, id, task string }{
		{"slurm", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"}, {"slurm", "SLURM_JOB_ID", ""},
		{"pbs", "PBS_JOBID", "PBS_ARRAY_INDEX"}, {"lsf", "LSB_JOBID", "LSB_JOBINDEX"}, {"hq", "HQ_JOB_ID", "HQ_TASK_ID"},
	} {
		id := os.Getenv(s.id)
		if id == "" {
			continue
		}
		if task := os.Getenv(s.task); s.task != "" && task != "" {
			id += "_" + task
		}
		return s.name + " " + strings.ToValidUTF8(id, "?")
	}
	return ""
}
