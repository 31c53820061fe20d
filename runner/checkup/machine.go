package checkup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"ablate/models/backend"
	"ablate/runner/device"
	"ablate/runner/phrase"
	"ablate/runner/resource"
)

// Machine checks this machine: what a run may use of it, each backend, which of them a run would use, and the free
// disk space in dir, the folder of results (by default the working folder).
func Machine(ctx context.Context, dir string) ([]Finding, error) {
	cuda, cpu := checkCUDA(ctx), checkCPU(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	name, err := device.Named()
	return []Finding{
		{What: "machine", OK: true, Detail: machine()},
		capacity(ctx),
		cgo(),
		cuda,
		cpu,
		{What: device.Go, OK: true, Detail: "pure Go, one operation at a time: samples and scores, cannot train; used only when named"},
		pick(name, err, cuda.OK, cpu.OK),
		disk(dir),
	}, nil
}

// Problem returns the first finding that prevents this machine from running studies,
// false if there is none. A backend that does not work is not a problem as long as
// another one works.
func Problem(list []Finding) (Finding, bool) {
	cuda := false
	for _, f := range list {
		cuda = cuda || f.What == device.CUDA && f.OK
	}
	for _, f := range list {
		if !f.OK && f.What != device.CUDA && !(f.What == device.CPU && cuda) {
			return f, true
		}
	}
	return Finding{}, false
}

// machine describes the processor and the platform.
func machine() string {
	return fmt.Sprintf("%s, %s/%s", device.CPUName(), runtime.GOOS, runtime.GOARCH)
}

// capacity describes what a run may use of this machine, and which limits decide.
func capacity(ctx context.Context) Finding {
	c, err := resource.Here(ctx, true, resource.Limits{})
	if err != nil {
		return Finding{What: "capacity", Detail: err.Error()}
	}
	gpus := "no GPU"
	if n := len(c.GPUs); n > 0 && c.GPUs[0].ID != "" {
		gpus = phrase.Count(n, "GPU")
		if m := c.GPUs[0].Memory; m > 0 {
			gpus += " with " + phrase.Bytes(m)
		}
		gpus += " (" + c.Why.GPUs + ")"
	}
	memory := "memory unknown"
	if c.Memory > 0 {
		memory = fmt.Sprintf("%s of memory (%s)", phrase.Bytes(c.Memory), c.Why.Memory)
	}
	return Finding{What: "capacity", OK: true, Detail: fmt.Sprintf("%s (%s), %s, %s", phrase.Count(c.CPUs, "CPU"), c.Why.CPUs, memory, gpus)}
}

func cgo() Finding {
	if backend.HasXLA {
		return Finding{What: "cgo", OK: true, Detail: "this program can load XLA plugins"}
	}
	return Finding{What: "cgo", Detail: "this program was built without cgo and cannot load XLA plugins", Do: "build it with CGO_ENABLED=1 and a C compiler"}
}

// pick reports which backend a run uses. name is the value of ABLATE_BACKEND and err its
// error; cuda and cpu say which backends work.
func pick(name string, err error, cuda, cpu bool) Finding {
	f := Finding{What: "picked", OK: true}
	switch {
	case err != nil:
		f.OK, f.Detail, f.Do = false, err.Error(), "unset ABLATE_BACKEND"
	case name == device.Auto && cuda:
		f.Detail = "xla:cuda (auto)"
	case name == device.Auto && cpu:
		f.Detail = "xla:cpu (auto)"
	case name == device.Auto:
		f.OK, f.Detail, f.Do = false, "no XLA backend loads here", "see xla:cpu above"
	case name == device.CUDA && !cuda, name == device.CPU && !cpu:
		f.OK, f.Detail, f.Do = false, name+" (ABLATE_BACKEND) does not work here", "see above"
	default:
		f.Detail = name + " (ABLATE_BACKEND)"
	}
	return f
}

func checkCUDA(ctx context.Context) Finding {
	f := Finding{What: device.CUDA}
	plugins := backend.CUDAPlugins(os.Getenv("ABLATE_BACKEND") == device.CUDA)
	if len(plugins) == 0 {
		f.Detail = "no NVIDIA device with a plugin"
		return f
	}
	for _, p := range plugins {
		name, err := device.Probe(ctx, device.CUDA, p)
		if err == nil {
			return Finding{What: device.CUDA, OK: true, Detail: fmt.Sprintf("%s, plugin %s", name, p)}
		}
		f.Detail, f.Do = err.Error(), "name a plugin that loads with ABLATE_PJRT_PLUGIN"
	}
	return f
}

// whose explains the name of the plugin's package, which looks like a spelling mistake.
const whose = "the package is of lammps-jax, which runs JAX models in the simulator LAMMPS, and has the CPU plugin of XLA and nothing else; ablate pins its SHA-256"

func checkCPU(ctx context.Context) Finding {
	fail := func(detail, do string) Finding { return Finding{What: device.CPU, Detail: detail, Do: do} }
	path, own, err := backend.PluginPath()
	if err != nil {
		return fail(err.Error(), "")
	}
	have, err := backend.HavePlugin()
	switch {
	case err != nil:
		return fail(err.Error(), "correct ABLATE_PJRT_PLUGIN, or unset it to have the plugin fetched")
	case !have:
		return fail(fmt.Sprintf("no plugin yet (%s)", device.Plugin()), "the first run fetches it; 'ablate doctor --fetch' does it now; "+whose)
	}
	digest, err := backend.VerifyPlugin()
	if err != nil {
		return fail(err.Error(), "delete the file, then 'ablate doctor --fetch'")
	}
	if !backend.HasXLA {
		return fail("see cgo above", "")
	}
	name, err := device.Probe(ctx, device.CPU, path)
	if err != nil {
		return fail(err.Error(), "unset ABLATE_PJRT_PLUGIN, or delete the file and run 'ablate doctor --fetch'")
	}
	origin, do := device.Plugin(), whose
	if own {
		origin, do = "named by ABLATE_PJRT_PLUGIN", ""
	}
	return Finding{What: device.CPU, OK: true, Detail: fmt.Sprintf("%s, plugin %s (%s, SHA-256 %s)", name, path, origin, digest[:12]), Do: do}
}

// disk checks the free space in a folder, which need not exist yet.
func disk(dir string) Finding {
	if dir == "" {
		dir = "."
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Finding{What: "disk", Detail: err.Error()}
	}
	for abs != filepath.Dir(abs) {
		if _, err := os.Stat(abs); err == nil {
			break
		}
		abs = filepath.Dir(abs)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(abs, &st); err != nil {
		return Finding{What: "disk", Detail: fmt.Sprintf("%s: %v", abs, err)}
	}
	return room(abs, float64(st.Bavail)*float64(st.Bsize))
}

// room checks whether bytes of free space suffice for the results of a study.
func room(dir string, bytes float64) Finding {
	free := bytes / (1 << 30)
	f := Finding{What: "disk", OK: true, Detail: fmt.Sprintf("%.1f GiB free at %s", free, dir)}
	if free < 1 {
		f.OK, f.Do = false, "free some space, or name another folder with --store: a study of this size needs about 1 GiB"
	}
	return f
}
