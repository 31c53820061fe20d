package store

import (
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
	"strings"
)

// Seen is how the files of an action's result looked when a process had checked them. While
// they look the same, by their inodes, sizes and times of change, nobody has written them, and
// they need not be read again.
type Seen struct {
	There [16]byte // of the entry in the index, and of the folder with the artifact's files
	Whole [16]byte // of the manifest and of Paths, whose bytes were compared; zero if they were not
	Paths string   // files of the artifact, each followed by a zero byte
}

// Seen returns how the result of an action looks. want are the files for which Files was
// called; Whole is zero if one of them was not compared, or has been written since.
func (s *Store) Seen(id ActionID, out OutputID, want func(path string) bool) (Seen, error) {
	m, err := s.manifest(out)
	if err != nil {
		return Seen{}, err
	}
	var x Seen
	var paths strings.Builder
	whole := true
	for _, f := range m {
		if !want(f.path) {
			continue
		}
		paths.WriteString(f.path + "\x00")
		now, err := stampOf(filepath.Join(s.files(out), filepath.FromSlash(f.path)))
		whole = whole && err == nil && s.checked(out, f.path, now)
	}
	x.Paths = paths.String()
	if x.There, err = s.there(id, out); err != nil {
		return Seen{}, err
	}
	if whole {
		x.Whole, err = s.whole(out, x.Paths)
	}
	return x, err
}

// There reports whether the entry of an action and the folder with its artifact's files look
// as they did.
func (s *Store) There(id ActionID, out OutputID, was Seen) bool {
	now, err := s.there(id, out)
	return err == nil && now == was.There
}

// Whole reports whether the files of an artifact whose bytes were compared look as they did.
func (s *Store) Whole(out OutputID, was Seen) bool {
	if was.Whole == ([16]byte{}) {
		return false
	}
	now, err := s.whole(out, was.Paths)
	return err == nil && now == was.Whole
}

func (s *Store) there(id ActionID, out OutputID) ([16]byte, error) {
	return Looks(s.action(id), s.files(out))
}

func (s *Store) whole(out OutputID, paths string) ([16]byte, error) {
	all := []string{filepath.Join(s.artifact(out), "manifest")}
	dir := s.files(out)
	for path := range strings.SplitSeq(strings.TrimSuffix(paths, "\x00"), "\x00") {
		if path != "" {
			all = append(all, dir+string(filepath.Separator)+filepath.FromSlash(path))
		}
	}
	return Looks(all...)
}

// Looks returns a digest of how files look: their inodes, sizes and times of change.
func Looks(names ...string) (sum [16]byte, err error) {
	b := make([]byte, 0, 256)
	for _, name := range names {
		st, err := stampOf(name)
		if err != nil {
			return sum, err
		}
		for _, x := range []uint64{st.inode, uint64(st.size), uint64(st.changed.Sec), uint64(st.changed.Nsec), uint64(st.mod.Sec), uint64(st.mod.Nsec)} {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
	}
	all := sha256.Sum256(b)
	copy(sum[:], all[:])
	return sum, nil
}
