package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// wall makes a command the hidden one in namespaces of its own: of users, so that it needs no
// root, of mounts, and where it has no network, of networks. The files are its pipes.
func (w *walls) wall(cmd *exec.Cmd) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w.Argv, w.Dir = append([]string{cmd.Path}, cmd.Args[1:]...), cmd.Dir
	cmd.Path, cmd.Args = self, []string{"ablate", WallsCommand}
	a := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}}
	if !w.Network {
		a.Cloneflags |= unix.CLONE_NEWNET
	}
	// Users keep their ids. Only root may map other ids than its own.
	if a.UidMappings, err = idMap("/proc/self/uid_map", os.Geteuid()); err != nil {
		return err
	}
	if a.GidMappings, err = idMap("/proc/self/gid_map", os.Getegid()); err != nil {
		return err
	}
	a.GidMappingsEnableSetgroups = os.Geteuid() == 0
	cmd.SysProcAttr = a
	return nil
}

// idMap returns the map of ids to themselves.
func idMap(file string, id int) (list []syscall.SysProcIDMap, err error) {
	if os.Geteuid() != 0 {
		return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}, nil
	}
	data, err := os.ReadFile(file)
	for line := range strings.Lines(string(data)) {
		var inside, outside, n int
		if _, err := fmt.Sscan(line, &inside, &outside, &n); err == nil {
			list = append(list, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: n})
		}
	}
	return list, err
}

// BuildWalls is the hidden command: it reads walls from descriptor 3, builds them, answers on
// descriptor 4, and becomes the program. Where the program does several tasks, BuildWalls stays and
// builds the walls of each.
func BuildWalls() error {
	runtime.LockOSThread() // capabilities are those of a thread
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	in, out := json.NewDecoder(os.NewFile(3, "walls")), json.NewEncoder(os.NewFile(4, "replies"))
	answer := func(err error) error {
		r := wallsReply{}
		if err != nil {
			r.Error = err.Error()
		}
		return errors.Join(err, out.Encode(r))
	}
	var w walls
	if err := in.Decode(&w); err != nil {
		return err
	}
	b := &building{}
	err := errors.Join(b.begin(&w), b.build(w.Views))
	if err == nil {
		err = os.Chdir(w.Dir) // the working directory is still the one of before
	}
	if err != nil {
		return answer(err)
	}
	var cmd *exec.Cmd
	if w.Stay {
		// The thread that starts the program gives up what the one that builds walls needs.
		started := make(chan error, 1)
		go func() {
			runtime.LockOSThread()
			cmd = &exec.Cmd{Path: w.Argv[0], Args: w.Argv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
			err := give()
			if err == nil {
				err = cmd.Start()
			}
			started <- err
			if err == nil {
				_ = cmd.Wait()
				os.Exit(exitStatus(cmd))
			}
		}()
		if err := answer(<-started); err != nil {
			return err
		}
		b.later = true
		for {
			var more walls
			if err := in.Decode(&more); err != nil {
				select {} // no more tasks: the program ends by itself
			}
			if err := answer(b.build(more.Views)); err != nil {
				return err
			}
		}
	}
	if err := give(); err != nil {
		return answer(err)
	}
	if err := answer(nil); err != nil {
		return err
	}
	return syscall.Exec(w.Argv[0], w.Argv, os.Environ())
}

func exitStatus(cmd *exec.Cmd) int {
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// give gives up, for this thread and what it starts, what could move the walls.
func give() error {
	err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if os.Geteuid() == 0 { // other users lose all capabilities when the program begins
		for _, c := range []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_NET_ADMIN} {
			err = errors.Join(err, unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0))
		}
	}
	self := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	err = errors.Join(err, unix.Capget(&self, &have[0]))
	have[0].Inheritable, have[1].Inheritable = 0, 0
	err = errors.Join(err, unix.Capset(&self, &have[0]), unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	return at("give up", "capabilities", err)
}

// at adds what was done where to an error.
func at(what, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, path, err)
}

// A building builds walls. It keeps what it hides open, because later tasks need parts of it.
type building struct {
	before map[string]int // descriptors of hidden folders as they were, by path
	empty  []int          // descriptors of the empty folders in their places
	later  bool           // the walls of the program stand, and those of tasks follow
	task   []func()       // remove the views of the task before
}

// begin makes all file systems read-only, and the network, if it is another one, able to reach this
// machine itself.
func (b *building) begin(w *walls) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return at("keep mounts of", "/", err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return at("make read-only", "/", err)
	}
	const shared = "/dev/shm"
	if info, err := os.Lstat(shared); err == nil && info.IsDir() { // data loaders need it
		if err := unix.Mount("tmpfs", shared, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
			return at("empty", shared, err)
		}
	}
	b.before = map[string]int{}
	for _, dir := range w.Hidden {
		if slices.ContainsFunc(w.Hidden, func(other string) bool { return other != dir && below(dir, other) }) {
			continue
		}
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return at("open", dir, err)
		}
		b.before[dir] = fd
	}
	return loopback()
}

// loopback starts the network device by which processes of this machine reach each other, if it
// does not run.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, r); err != nil || r.Uint16()&unix.IFF_UP != 0 {
		return err
	}
	r.SetUint16(r.Uint16() | unix.IFF_UP)
	return at("start", "lo", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r))
}

// build builds views. Those of a task replace the ones of the task before.
func (b *building) build(views []view) error {
	seal := func(a unix.MountAttr) (err error) {
		for _, fd := range b.empty {
			err = errors.Join(err, at("seal", "a hidden folder", unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &a)))
		}
		return err
	}
	if err := seal(unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return err
	}
	for _, undo := range slices.Backward(b.task) {
		undo()
	}
	b.task = nil
	for _, v := range views {
		if err := b.view(v); err != nil {
			return err
		}
	}
	return seal(unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// place makes a file, folder or link in a hidden folder, if there is nothing at a path.
func (b *building) place(path string, make func() error) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), make()); err != nil {
		return err
	}
	if b.later {
		b.task = append(b.task, func() { _ = os.Remove(path) }) // a folder may have what another view needs
	}
	return nil
}

// view builds a view.
func (b *building) view(v view) error {
	folder := func() error { return os.Mkdir(v.Path, 0o755) }
	switch v.As {
	case hidden:
		if err := b.place(v.Path, folder); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", v.Path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return at("hide", v.Path, err)
		}
		fd, err := unix.Open(v.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		b.empty = append(b.empty, fd)
		return at("open", v.Path, err)
	case link:
		return b.place(v.Path, func() error { return os.Symlink(v.To, v.Path) })
	}
	from, name := unix.AT_FDCWD, v.Path
	for dir, fd := range b.before {
		if below(v.Path, dir) {
			from, name = fd, "."+strings.TrimPrefix(v.Path, dir)
		}
	}
	if from == unix.AT_FDCWD && v.As == readable {
		return nil // nothing hides it
	}
	tree, err := unix.OpenTree(from, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return at("show", v.Path, err)
	}
	defer unix.Close(tree)
	if v.As == writable {
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return at("make writable", v.Path, err)
		}
	}
	var s unix.Stat_t
	if err := unix.Fstatat(from, name, &s, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return at("show", v.Path, err)
	}
	make := func() error { return os.WriteFile(v.Path, nil, 0o644) }
	if s.Mode&unix.S_IFMT == unix.S_IFDIR {
		make = folder
	}
	if err := b.place(v.Path, make); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, v.Path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return at("show", v.Path, err)
	}
	if b.later {
		b.task = append(b.task, func() { _ = unix.Unmount(v.Path, unix.MNT_DETACH) })
	}
	return nil
}
