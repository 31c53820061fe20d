package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"path/filepath"
	"strings"
	"time"
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

// Folders is how the folders looked that list a store's entries and artifacts. While one looks the
// same, nobody has added, replaced or removed what it lists. A zero stands for a folder that
// does not exist, or has changed so recently that another change might not show.
type Folders [2 * shards][16]byte

// shards is the number of folders that list entries, and of those that list artifacts.
const shards = 256

// recent is how long a folder must have been left alone. File systems round the times of
// changes, to a few milliseconds mostly.
const recent = 2 * time.Second

// Folders returns how the folders look.
func (s *Store) Folders() *Folders {
	var f Folders
	last := time.Now().Add(-recent)
	for i := range f {
		dir := [2]string{"actions", "artifacts"}[i/shards]
		name := filepath.Join(s.dir, dir, hex.EncodeToString([]byte{byte(i % shards)}))
		st, err := stampOf(name)
		if err == nil && last.After(time.Unix(st.changed.Unix())) {
			f[i] = st.digest()
		}
	}
	return &f
}

// Both returns what two looks have in common.
func (f *Folders) Both(other *Folders) *Folders {
	both := *f
	for i := range both {
		if both[i] != other[i] {
			both[i] = [16]byte{}
		}
	}
	return &both
}

// Have reports whether the folders that list an action's entry and an artifact are among those of
// which f is known.
func (f *Folders) Have(id ActionID, out OutputID) bool {
	var zero [16]byte
	return f[id[0]] != zero && f[shards+int(out[0])] != zero
}

// Looks returns a digest of how files look: their inodes, sizes and times of change.
func Looks(names ...string) (sum [16]byte, err error) {
	b := make([]byte, 0, 256)
	for _, name := range names {
		st, err := stampOf(name)
		if err != nil {
			return sum, err
		}
		b = st.append(b)
	}
	return digest(b), nil
}

func (st stamp) append(b []byte) []byte {
	for _, x := range []uint64{st.inode, uint64(st.size), uint64(st.changed.Sec), uint64(st.changed.Nsec), uint64(st.mod.Sec), uint64(st.mod.Nsec)} {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

func (st stamp) digest() [16]byte { return digest(st.append(nil)) }

func digest(b []byte) (sum [16]byte) {
	all := sha256.Sum256(b)
	copy(sum[:], all[:])
	return sum
}
