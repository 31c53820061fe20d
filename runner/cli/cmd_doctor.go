package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ablate/models/backend"
	"ablate/runner/launch"
)

// A finding is one line of doctor's answer.
type finding struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // how to mend it
}

func newDoctor(g *globals) *cobra.Command {
	var asJSON, fetch bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "What each backend can do here, what is picked, and what to do about each problem",
		Long: `Tries each backend in a child process and says which of them 'auto' picks, where
plugins and results lie, and how much room there is. Exit code 1 if no backend
that can train works.
` + exitHelp,
		Example: "  ablate doctor\n  ablate doctor --fetch",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDoctor(cmd.Context(), g, asJSON, fetch)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print findings as JSON")
	cmd.Flags().BoolVar(&fetch, "fetch", false, "fetch the XLA plugin for the CPU first, if it is missing")
	return cmd
}

func runDoctor(ctx context.Context, g *globals, asJSON, fetch bool) error {
	if fetch {
		if _, err := backend.Fetch(ctx, g.bar("fetching the XLA plugin for the CPU, once")); err != nil {
			return err
		}
	}
	list := []finding{{What: "machine", OK: true, Detail: machineText()}}
	cgo := finding{What: "cgo", OK: backend.HasXLA, Detail: "this program can load XLA plugins"}
	if !cgo.OK {
		cgo.Detail, cgo.Do = "this program was built without cgo and cannot load XLA plugins", "build it with CGO_ENABLED=1 and a C compiler"
	}
	list = append(list, cgo)
	cuda, cudaOK := doctorCUDA(ctx)
	cpu, cpuOK := doctorCPU(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	list = append(list, cuda, cpu,
		finding{What: backend.Go, OK: true, Detail: "pure Go, one operation at a time: samples and scores, cannot train; used only when named"})

	name, err := backend.Named()
	pick := finding{What: "picked", OK: true}
	switch {
	case err != nil:
		pick.OK, pick.Detail, pick.Do = false, err.Error(), "unset ABLATE_BACKEND"
	case name == backend.Auto && cudaOK:
		pick.Detail = "xla:cuda (auto)"
	case name == backend.Auto && cpuOK:
		pick.Detail = "xla:cpu (auto)"
	case name == backend.Auto:
		pick.OK, pick.Detail, pick.Do = false, "no XLA backend loads here", "see xla:cpu above"
	case name == backend.CUDA && !cudaOK, name == backend.CPU && !cpuOK:
		pick.OK, pick.Detail, pick.Do = false, name+" (ABLATE_BACKEND) does not work here", "see above"
	default:
		pick.Detail = name + " (ABLATE_BACKEND)"
	}
	list = append(list, pick, doctorStore(g))

	if asJSON {
		e := json.NewEncoder(g.stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(list); err != nil {
			return err
		}
	} else {
		for _, f := range list {
			mark := "ok  "
			if !f.OK {
				mark = "FAIL"
				if f.What == backend.CUDA {
					mark = "-   "
				}
			}
			fmt.Fprintf(g.stdout, "%s %-9s %s\n", mark, f.What, f.Detail)
			if f.Do != "" {
				fmt.Fprintf(g.stdout, "%15s%s\n", "", f.Do)
			}
		}
	}
	for _, f := range list {
		if !f.OK && f.What != backend.CUDA && !(f.What == backend.CPU && cudaOK) {
			return fmt.Errorf("doctor: %s: %s", f.What, f.Detail)
		}
	}
	return nil
}

// machineText is the machine as far as a study's time depends on it.
func machineText() string {
	memory := "memory unknown"
	if n := hostMemory(); n > 0 {
		memory = bytesText(n) + " of memory"
	}
	return fmt.Sprintf("%s, %s, %s, %s/%s", cpuName(), many(launch.DefaultWorkers(), "core"), memory, runtime.GOOS, runtime.GOARCH)
}

func doctorCUDA(ctx context.Context) (finding, bool) {
	f := finding{What: backend.CUDA}
	plugins := backend.CUDAPlugins(os.Getenv("ABLATE_BACKEND") == backend.CUDA)
	if len(plugins) == 0 {
		f.Detail = "no NVIDIA device with a plugin"
		return f, false
	}
	for _, p := range plugins {
		device, err := probe(ctx, backend.Choice{Name: backend.CUDA, Plugin: p})
		if err == nil {
			f.OK, f.Detail = true, fmt.Sprintf("%s, plugin %s", device, p)
			return f, true
		}
		f.Detail, f.Do = err.Error(), "name a plugin that loads with ABLATE_PJRT_PLUGIN"
	}
	return f, false
}

// whose explains a name that looks like a misspelt one.
const whose = "the package is of lammps-jax, which runs JAX models in the simulator LAMMPS, and has the CPU plugin of XLA and nothing else; ablate pins its SHA-256"

func doctorCPU(ctx context.Context) (finding, bool) {
	f := finding{What: backend.CPU}
	path, own, err := backend.PluginPath()
	if err != nil {
		f.Detail = err.Error()
		return f, false
	}
	have, err := backend.HavePlugin()
	switch {
	case err != nil:
		f.Detail, f.Do = err.Error(), "correct ABLATE_PJRT_PLUGIN, or unset it to have the plugin fetched"
		return f, false
	case !have:
		f.Detail = fmt.Sprintf("no plugin yet (%s %s)", backend.PluginPackage, backend.PluginVersion)
		f.Do = "the first run fetches it; 'ablate doctor --fetch' does it now; " + whose
		return f, false
	}
	digest, err := backend.VerifyPlugin()
	if err != nil {
		f.Detail, f.Do = err.Error(), "delete the file, then 'ablate doctor --fetch'"
		return f, false
	}
	if !backend.HasXLA {
		f.Detail = "see cgo above"
		return f, false
	}
	device, err := probe(ctx, backend.Choice{Name: backend.CPU, Plugin: path})
	if err != nil {
		f.Detail, f.Do = err.Error(), "unset ABLATE_PJRT_PLUGIN, or delete the file and run 'ablate doctor --fetch'"
		return f, false
	}
	origin := backend.PluginPackage + " " + backend.PluginVersion
	if own {
		origin = "named by ABLATE_PJRT_PLUGIN"
	} else {
		f.Do = whose
	}
	f.OK, f.Detail = true, fmt.Sprintf("%s, plugin %s (%s, SHA-256 %s)", device, path, origin, digest[:12])
	return f, true
}

// doctorStore says where results would lie from here, and how much room there is.
func doctorStore(g *globals) finding {
	f := finding{What: "disk", OK: true}
	dir := g.store
	if dir == "" {
		dir = "."
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return finding{What: "disk", Detail: err.Error()}
	}
	for abs != filepath.Dir(abs) {
		if _, err := os.Stat(abs); err == nil {
			break
		}
		abs = filepath.Dir(abs)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(abs, &st); err != nil {
		return finding{What: "disk", Detail: fmt.Sprintf("%s: %v", abs, err)}
	}
	free := float64(st.Bavail) * float64(st.Bsize) / (1 << 30)
	f.Detail = fmt.Sprintf("%.1f GiB free at %s", free, abs)
	if free < 1 {
		f.OK, f.Do = false, "free some space, or name another folder with --store: a study of this size needs about 1 GiB"
	}
	return f
}
