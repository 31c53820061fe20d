package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Declared is the sandbox in which an engine sees only what was declared.
const Declared = "declared"

// WallsCommand is the hidden command that builds walls around itself and then becomes the program
// of an engine; see [BuildWalls].
const WallsCommand = "walls"

// walls are what a process of an engine sees of the file system, and whether it has a network. All
// that is not hidden is there to read.
type walls struct {
	Views   []view
	Network bool `json:"-"`
	Hidden  []string

	Argv []string // program that is started behind the walls
	Dir  string   // its working directory
	Stay bool     // the program does several tasks, each of which has views of its own
}

// A view is what there is at a path, whose parents are no links.
type view struct {
	Path string
	As   int
	To   string `json:",omitempty"` // of a link
}

// What there may be at a path. The later wins.
const (
	hidden   = iota // an empty folder
	link            // a symbolic link
	readable        // what is there
	writable
)

// wallsReply is what the hidden command answers.
type wallsReply struct{ Error string }

// system are the folders of / that have programs and devices, not what a user has.
var system = []string{"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "nix", "opt", "proc", "run", "sbin", "snap", "sys", "usr", "var"}

// walls returns the walls for a verb of the engine, nil if its study asks for none.
//
// A load has to find a model by its name, so it may read all that the user can read, but for the
// store. Other verbs see the folders of the system, the source, the program's installation, and
// what the study lets it read.
func (e *Engine) walls(verb string) (*walls, error) {
	if e.Sandbox != Declared {
		return nil, nil
	}
	w := &walls{Network: slices.Contains(e.Network, verb)}
	if e.Store != "" {
		w.hide(e.Store)
	}
	if verb == Load {
		return w, nil
	}
	list, err := os.ReadDir("/")
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.IsDir() && !slices.Contains(system, d.Name()) {
			w.hide("/" + d.Name())
		}
	}
	home := os.Getenv("HOME")
	for _, dir := range []string{home, e.Root, os.TempDir(), "/var/tmp"} {
		if filepath.IsAbs(dir) && dir != "/" {
			w.hide(dir)
		}
	}
	packages, _ := filepath.Glob(filepath.Join(home, ".local/lib/python*")) // the pattern is right
	// Native engines need the plugin that 'ablate doctor --fetch' has fetched, or that they are given.
	plugins, _ := filepath.Glob(filepath.Join(filepath.Dir(Cache()), "pjrt-*")) // the pattern is right
	if named := e.Env["ABLATE_PJRT_PLUGIN"]; filepath.IsAbs(named) {
		plugins = append(plugins, named)
	}
	for _, path := range append(packages, plugins...) {
		w.see(path, readable)
	}
	return w, w.engine(e)
}

// engine shows what an engine is made of.
func (w *walls) engine(e *Engine) error {
	for _, glob := range slices.Concat(e.Source, e.Read) {
		if !filepath.IsAbs(glob) {
			glob = filepath.Join(e.Root, glob)
		}
		names, err := filepath.Glob(glob)
		if err != nil {
			return e.errorf("%q: %w", glob, err)
		}
		for _, name := range names {
			w.see(name, readable)
		}
	}
	for i, arg := range e.argv(0) {
		if i == 0 {
			w.program(arg)
		} else if filepath.IsAbs(arg) {
			w.see(arg, readable)
		}
	}
	return nil
}

// program shows an executable file and what is installed with it: the folder that has its bin or its
// shims, such as that of a virtual environment or of pyenv, and of each file to which it links.
func (w *walls) program(name string) {
	path, err := exec.LookPath(name)
	for err == nil {
		w.see(path, readable)
		if bin := filepath.Dir(path); slices.Contains([]string{"bin", "shims"}, filepath.Base(bin)) {
			prefix := filepath.Dir(bin)
			if slices.ContainsFunc(w.Hidden, func(dir string) bool { return below(dir, prefix) }) {
				prefix = bin // ~/bin must not show all of the home
			}
			w.see(prefix, readable)
		}
		var to string
		if to, err = os.Readlink(path); err == nil && !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
}

// below reports whether a path is a folder or below it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func (w *walls) hide(dir string) {
	if dir = w.see(dir, hidden); dir != "" {
		w.Hidden = append(w.Hidden, dir)
	}
}

// see adds a view of a path, and of links on the way to it. It returns the path without links, empty
// if there is nothing.
func (w *walls) see(path string, as int) string {
	path = filepath.Clean(path)
	for hops, i := 0, 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		to, err := os.Readlink(path[:i])
		if err != nil {
			continue
		}
		if hops++; hops > 40 {
			return ""
		}
		w.Views = append(w.Views, view{path[:i], link, to})
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path[:i]), to)
		}
		path, i = filepath.Join(to, path[i:]), 0
	}
	if !exists(path) {
		return ""
	}
	w.Views = append(w.Views, view{Path: path, As: as})
	return path
}

// task adds what a task in a folder needs: it writes into the folder, and reads its inputs.
func (w *walls) task(t Task, dir string, o Options) error {
	w.see(dir, writable)
	w.see(filepath.Join(dir, inFolder), readable)
	w.see(filepath.Join(dir, requestFile), readable)
	if o.State != "" {
		w.see(o.State, writable)
	}
	for _, s := range t.Scorers {
		if err := w.engine(s.Engine); err != nil {
			return err
		}
	}
	for _, in := range t.Inputs {
		if in.Files != "" {
			w.see(in.Files, readable)
		}
		for _, part := range in.Parts {
			w.see(part, readable)
		}
		if in.Rows != nil {
			continue
		}
		// The files of a model that load has named lie elsewhere.
		about, err := ReadCheckpoint(in.Files)
		if err != nil {
			return err
		}
		for _, name := range about.Files {
			w.see(filepath.Join(about.Root, name), readable)
		}
	}
	return nil
}

// sorted puts a folder before what is below it, and drops views that others replace.
func (w *walls) sorted() *walls {
	slices.SortFunc(w.Views, func(a, b view) int { return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(b.As, a.As)) })
	w.Views = slices.CompactFunc(w.Views, func(a, b view) bool { return a.Path == b.Path })
	return w
}

// rule returns the rule of the sandbox that explains what a program wrote; empty if none does.
func (e *Engine) rule(verb, text string) string {
	w, err := e.walls(verb)
	if w == nil || err != nil {
		return ""
	}
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
	}
	const of = "\nIts sandbox is \"declared\": "
	switch {
	case has("Read-only file system", "read-only file system"):
		return of + "a program writes only into its attempt folder (out, state, work, tmp, emit)"
	case !w.Network && has("Network is unreachable", "network is unreachable", "Name or service not known", "Temporary failure in name resolution", "Could not resolve", "Max retries exceeded"):
		return of + fmt.Sprintf("%s has no network; in the study, network: [%q] would give it one", verb, verb)
	case has("No such file or directory", "no such file or directory") && slices.ContainsFunc(w.Hidden, func(dir string) bool { return has(dir + "/") }):
		return of + "it sees of the store, the home, the study's folder and other users' folders only its inputs, the files that load named, and its source; in the study, read: [\"PATH\"] shows more"
	}
	return ""
}

// CheckWalls returns an error if the study asks for walls that this machine cannot build.
func (e *Engine) CheckWalls() error {
	w, err := e.walls(Sample)
	if w == nil || err != nil {
		return err
	}
	mark := newMark()
	p, err := e.start(command{argv: []string{"true"}, walls: w, dir: "/", env: e.environment(map[string]string{markVariable: mark}), log: newLog(nil)})
	if err == nil {
		_, err = p.end(mark, 0)
	}
	return err
}

// errNoWalls is what to do on a machine that cannot build walls.
var errNoWalls = errors.New("this machine cannot build the walls of sandbox: \"declared\"; they need Linux 5.12 or later, and user namespaces (root allows them with 'sysctl user.max_user_namespaces=10000', on Ubuntu 'sysctl kernel.apparmor_restrict_unprivileged_userns=0', in a container with '--security-opt seccomp=unconfined'). Or write sandbox: \"none\", which trusts the engine")

// A gate is ablate's end of the pipes to the hidden command.
type gate struct {
	to, from *os.File
	replies  *json.Decoder
}

// gated makes a command the hidden one, with pipes to it. The caller must close the gate, and theirs
// when the command has been started.
func (w *walls) gated(cmd *exec.Cmd) (g *gate, theirs []*os.File, err error) {
	if err := w.wall(cmd); err != nil {
		return nil, nil, err
	}
	in, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	from, out, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, in.Close(), to.Close())
	}
	cmd.ExtraFiles = []*os.File{in, out}
	return &gate{to, from, json.NewDecoder(from)}, cmd.ExtraFiles, nil
}

// send gives the hidden command walls and waits until they are built.
func (g *gate) send(w *walls) error {
	if err := json.NewEncoder(g.to).Encode(w.sorted()); err != nil {
		return err
	}
	var r wallsReply
	if err := g.replies.Decode(&r); err != nil {
		return fmt.Errorf("the process that builds the walls ended: %w", err)
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}

func (g *gate) close() {
	if g != nil {
		_ = g.to.Close()
		_ = g.from.Close()
	}
}
