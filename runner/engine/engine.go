package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ablate/experiments/language"
)

// Protocol is the version of the protocol.
const Protocol = 1

// Names of the verbs.
const (
	Load   = "load"
	Sample = "sample"
	Train  = "train"
	Score  = "score"
	Embed  = "embed"
)

// Names of the roles of inputs.
const (
	CheckpointRole  = "checkpoint"
	PromptsRole     = "prompts"
	ImagesRole      = "images"
	TextsRole       = "texts"
	BaseRole        = "base"
	PairsRole       = "pairs"
	PretrainingRole = "pretraining"
	SamplesRole     = "samples"
)

// RewardScorer is the name of the scorer that a training may call.
const RewardScorer = "reward"

// Verbs are the verbs of the protocol, in the order of a trial.
var Verbs = []string{Load, Sample, Train, Score, Embed}

// reserved are names of verbs of later versions of the protocol.
var reserved = []string{"prepare", "distance"}

// An Engine is a program that speaks the protocol.
type Engine struct {
	Name    string            // name in the study, for messages
	Root    string            // folder at which relative paths of Command and Source begin
	Command []string          // program and its first arguments; {gpus} in one is replaced by the number of GPUs, {container} by Image
	Source  []string          // globs of the files that the program is made of
	Image   string            // container in which it runs, with its digest, which identifies it in the place of Source; empty outside of one
	Env     map[string]string // further environment variables
	Kill    []string          // command that ends an attempt in a container; {action} in it is replaced by the mark of the attempt

	Sandbox string   // Declared where its processes see only what was declared for them (walls.go)
	Network []string // verbs that have a network nevertheless
	Read    []string // paths that they see nevertheless, from Root
	Store   string   `json:"-"` // folder of the store, which they do not see
}

// Of returns an engine of a study as it runs here: by its declaration, and by what the
// machine.cue of the site says.
func Of(s *language.Study, declared language.Engine) *Engine {
	e := &Engine{Name: declared.Name, Root: s.Root, Command: declared.Command, Source: declared.Source, Image: declared.Container,
		Sandbox: declared.Sandbox, Network: declared.Network, Read: declared.Read}
	for _, m := range s.MachineEngines {
		if m.Name != declared.Name {
			continue
		}
		if m.Command != nil {
			e.Command = m.Command
		}
		e.Env, e.Kill = m.Env, m.Kill
	}
	return e
}

// For returns the engine with the source of a verb.
func (e *Engine) For(v *Verb) *Engine {
	out := *e
	if len(v.Source) > 0 {
		out.Source = v.Source
	}
	return &out
}

// Cache returns the folder in which descriptions are cached; empty if this machine has none.
func Cache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "ablate", "engines")
}

// argv returns the command with arguments added. The program and arguments that name an
// existing file with a slash in its path become absolute, because the working directory of
// a task is another one.
func (e *Engine) argv(gpus int, more ...string) []string {
	return append(e.words(e.Command, "{gpus}", strconv.Itoa(gpus), "{container}", e.Image), more...)
}

// words returns the words of a command with absolute paths, and with names replaced.
func (e *Engine) words(command []string, names ...string) []string {
	var out []string
	for _, arg := range command {
		if strings.Contains(arg, "/") && !filepath.IsAbs(arg) {
			if path := filepath.Join(e.Root, arg); exists(path) {
				arg = path
			}
		}
		out = append(out, strings.NewReplacer(names...).Replace(arg))
	}
	return out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// check returns an error if the program cannot be started.
func (e *Engine) check() error {
	if len(e.Command) == 0 {
		return e.errorf("its command is empty: name the program that speaks the protocol")
	}
	name := e.argv(0)[0]
	if _, err := exec.LookPath(name); err != nil {
		switch {
		case errors.Is(err, fs.ErrPermission):
			return e.errorf("%s is not executable: run 'chmod +x %s', or name the interpreter first", e.Command[0], e.Command[0])
		case strings.Contains(e.Command[0], "/"):
			return e.errorf("there is no program %s: a path with a slash begins at %s%s", e.Command[0], e.Root, e.unwritten()+e.uninstalled())
		default:
			return e.errorf("there is no program %q on the PATH: install it, or write its path with a slash", e.Command[0])
		}
	}
	return nil
}

func (e *Engine) errorf(format string, args ...any) error {
	return fmt.Errorf("engine %s: "+format, append([]any{e.Name}, args...)...)
}

// rootVariable is the environment variable with the folder at which relative names of models begin.
const rootVariable = "ABLATE_ROOT"

// passed are the variables of ablate's own environment that an engine sees.
var passed = []string{"PATH", "HOME", "LANG"}

// environment returns the environment of a process of the engine.
func (e *Engine) environment(more map[string]string) []string {
	env := map[string]string{"LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", rootVariable: e.Root}
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	maps.Copy(env, e.Env)
	maps.Copy(env, more)
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

const (
	mostSources     = 20_000  // files of an engine's source
	mostSourceBytes = 1 << 30 // in all
)

// SourceDigest returns the SHA-256 of the engine's source files, with their paths, or the name of
// its container with its digest. It returns an error if a glob matches nothing. A process reads a
// file again only if its size or time has changed.
func (e *Engine) SourceDigest(ctx context.Context) (string, error) {
	if e.Image != "" {
		return e.Image, nil
	}
	names, err := e.sources(ctx)
	if err != nil {
		return "", err
	}
	total := int64(0)
	for _, name := range names {
		info, err := os.Stat(filepath.Join(e.Root, name))
		if err != nil {
			return "", e.errorf("source: %w", err)
		}
		if total += info.Size(); total > mostSourceBytes {
			return "", e.errorf("source: the files have more than %d bytes: name only the program's own files, not its models and packages", mostSourceBytes)
		}
	}
	files, err := HashFiles(ctx, e.Root, names, func(name string) (File, bool) {
		f, ok := sourcesRead.Load(filepath.Join(e.Root, name))
		if !ok {
			return File{}, false
		}
		return f.(File), true
	})
	if err != nil {
		return "", e.errorf("source: %w", err)
	}
	for _, f := range files.Files {
		sourcesRead.Store(filepath.Join(e.Root, f.Name), f)
	}
	return files.Digest(), nil
}

// sourcesRead has the source files that this process has read, as [File], by path.
var sourcesRead sync.Map

// Unsourced reports whether the study names neither files nor a container, so that the program's
// description identifies it.
func (e *Engine) Unsourced() bool { return e.Image == "" && len(e.Source) == 0 }

// Identity returns what results depend on of the program: the digest of its source or, where
// the study names none, of the text that its description has for that.
func (e *Engine) Identity(ctx context.Context, d *Description) (string, error) {
	if !e.Unsourced() || d.Identity == "" {
		return e.SourceDigest(ctx)
	}
	sum := sha256.Sum256([]byte(d.Identity))
	return hex.EncodeToString(sum[:]), nil
}

// sources returns the engine's source files, relative to Root, sorted. A folder stands for
// all files below it, without hidden ones and what Python caches.
func (e *Engine) sources(ctx context.Context) ([]string, error) {
	if len(e.Source) == 0 {
		return nil, e.errorf("it names no source: write source: [\"FILE\", …], the files that the program is made of, so that results are computed again when they change")
	}
	found := map[string]bool{}
	for _, glob := range e.Source {
		if filepath.IsAbs(glob) || slices.Contains(strings.Split(glob, "/"), "..") || strings.Contains(glob, "**") {
			return nil, e.errorf("source: %q must be a path below %s, in which * stands for a part of a name", glob, e.Root)
		}
		names, err := filepath.Glob(filepath.Join(e.Root, glob))
		if err != nil {
			return nil, e.errorf("source: %q: %w", glob, err)
		}
		before := len(found)
		for _, name := range names {
			err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
				switch base := filepath.Base(path); {
				case err != nil:
					return err
				case context.Cause(ctx) != nil:
					return context.Cause(ctx)
				case path != name && (strings.HasPrefix(base, ".") || base == "__pycache__"):
					if d.IsDir() {
						return fs.SkipDir
					}
					return nil
				case d.IsDir():
					return nil
				}
				rel, err := filepath.Rel(e.Root, path)
				found[filepath.ToSlash(rel)] = true
				if len(found) > mostSources {
					return e.errorf("source: more than %d files: name only the program's own", mostSources)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		if len(found) == before && len(names) == 0 {
			return nil, e.errorf("source: %q matches no file below %s%s", glob, e.Root, e.unwritten())
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// digestOf returns the SHA-256 of a file and its size.
func digestOf(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}
