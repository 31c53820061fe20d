package diskfault

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Random returns the number of faults that a randomized test injects, and the random numbers by
// which it chooses them. ABLATE_TEST_FAULTS is the number, if it is set, and ABLATE_TEST_SEED the
// seed, which is otherwise a new one. The test prints both.
func Random(t testing.TB, usual int) (number int, r *rand.Rand) {
	t.Helper()
	n, seed := uint64(usual), uint64(time.Now().UnixNano())
	for name, to := range map[string]*uint64{"ABLATE_TEST_FAULTS": &n, "ABLATE_TEST_SEED": &seed} {
		if text := os.Getenv(name); text != "" {
			var err error
			if *to, err = strconv.ParseUint(text, 10, 64); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	t.Logf("seed %d, %d faults", seed, n)
	return int(n), rand.New(rand.NewPCG(seed, 0))
}

// WriteError returns an error of a disk that breaks or is full, which writes half or nothing.
func WriteError(r *rand.Rand) Fault {
	return Fault{Err: []syscall.Errno{syscall.EIO, syscall.ENOSPC}[r.IntN(2)], Short: r.IntN(2) == 0}
}

// Clock lets all heartbeats in a store be an hour old or an hour ahead, as if the clock of the
// file server had jumped.
func Clock(r *rand.Rand, store string) {
	files, _ := filepath.Glob(filepath.Join(store, "live", "*"))
	at := time.Now().Add(time.Duration(1-2*r.IntN(2)) * time.Hour)
	for _, name := range files {
		_ = os.Chtimes(name, at, at)
	}
}

// flip changes a byte of a file of a store, and returns the kind of file and the names that are
// damaged by it: of the file, and of the artifact or the like to which it belongs. It returns
// false if it changed nothing.
func flip(r *rand.Rand, store string) (kind string, damaged []string, ok bool) {
	kinds := map[string][]string{}
	_ = filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		rel, _ := filepath.Rel(store, path)
		kind, _, _ := strings.Cut(rel, "/")
		switch kind {
		case "tmp", "quarantine": // nobody has promised these files yet, or any more
			return nil
		case "studies":
			if d.Name() == "study.json" || strings.Contains(rel, "/report/") {
				return nil // the record of the study is the user's to mend; a report is written again
			}
			kind += " " + filepath.Ext(path)
		}
		kinds[kind] = append(kinds[kind], rel)
		return nil
	})
	if len(kinds) == 0 {
		return "", nil, false
	}
	names := slices.Sorted(maps.Keys(kinds)) // so that the seed decides
	kind = names[r.IntN(len(names))]
	rel := kinds[kind][r.IntN(len(kinds[kind]))]
	path := filepath.Join(store, rel)
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return kind, nil, false
	}
	at := r.IntN(len(b))
	_ = os.Chmod(path, 0o644)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return kind, nil, false
	}
	defer file.Close()
	damaged = []string{filepath.Base(rel)}
	if parts := strings.Split(rel, "/"); len(parts) > 2 {
		damaged = append(damaged, parts[2])
	}
	_, err = file.WriteAt([]byte{b[at] ^ byte(1+r.IntN(255))}, int64(at))
	return kind, damaged, err == nil
}
