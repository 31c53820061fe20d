package lookup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"ablate/runner/layout"
	"ablate/runner/store"
)

// A Snapshot is what an earlier command found of a study's results, and how their files
// looked. With it a command that finds tens of thousands of results need not read them all:
// it only asks the file system whether they still look the same. A snapshot is never needed;
// one that cannot be read counts as empty.
type Snapshot struct {
	list    []sighting
	place   map[layout.Name]int32
	folders store.Folders // of the store, when the results were looked at

	glance bool // see Glance
}

// Glance returns the snapshot, with which Collect does not look at each result again but only at the
// folders that list them: the results that lie in folders that look the same are there. Collect
// then does not notice that somebody has removed files from inside of a result.
func (x *Snapshot) Glance() *Snapshot {
	if x != nil {
		x.glance = true
	}
	return x
}

// A sighting is the artifact of an action in a snapshot.
type sighting struct {
	name layout.Name
	Output
	seen store.Seen
}

// snapshotFormat is the first line of a snapshot.
const snapshotFormat = "ablate found 2\n"

// snapshotFile returns the file of a study's snapshot of a class of backend. dir is the
// study's folder of results.
func snapshotFile(dir, class string) string {
	return filepath.Join(dir, "found-"+string(bytes.ReplaceAll([]byte(class), []byte(":"), []byte("-"))))
}

// ReadSnapshot reads the snapshot of a study. dir is the study's folder of results.
func ReadSnapshot(dir, class string) *Snapshot {
	data, err := os.ReadFile(snapshotFile(dir, class))
	if err != nil {
		return nil
	}
	x, err := parseSnapshot(data)
	if err != nil {
		return nil
	}
	return x
}

// find returns what a snapshot has of an action. at is where it probably is.
func (x *Snapshot) find(name layout.Name, at int) *sighting {
	if x == nil {
		return nil
	}
	if at < len(x.list) && x.list[at].name == name {
		return &x.list[at]
	}
	if x.place == nil {
		x.place = make(map[layout.Name]int32, len(x.list))
		for i, s := range x.list {
			x.place[s.name] = int32(i)
		}
	}
	if i, ok := x.place[name]; ok {
		return &x.list[i]
	}
	return nil
}

// WriteSnapshot writes what was found into the folder of the study's results, unless a
// snapshot that says the same is there.
func (f *Found) WriteSnapshot(dir, class string) error {
	x, fresh := &Snapshot{folders: *f.folders.Both(f.store.Folders())}, false
	for a, out := range f.All() {
		if f.unreadable[a] {
			continue
		}
		if k := f.known[a.Index()]; k != nil && !k.changed {
			x.list = append(x.list, *k.sighting)
			continue
		}
		seen, err := f.store.Seen(out.Action, out.ID, a.Kind.Def().Tabled)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		x.list, fresh = append(x.list, sighting{a.Name, out, seen}), true
	}
	if !fresh && f.before != nil && len(f.before.list) == len(x.list) && f.before.folders == x.folders {
		return nil
	}
	return renameio.WriteFile(snapshotFile(dir, class), x.encode(), 0o666)
}

// encode returns the text of a snapshot: the format, how the folders looked, the strings that
// sightings share, the sightings, and a SHA-256 of all that.
func (x *Snapshot) encode() []byte {
	place := map[string]uint32{}
	var texts []string
	number := func(s string) uint32 {
		n, ok := place[s]
		if !ok {
			n = uint32(len(texts))
			place[s], texts = n, append(texts, s)
		}
		return n
	}
	le := binary.LittleEndian
	body := make([]byte, 0, len(x.list)*sightingSize)
	for _, s := range x.list {
		body = append(body, s.name[:]...)
		body = append(body, s.Action[:]...)
		body = append(body, s.ID[:]...)
		body = append(body, s.seen.There[:]...)
		body = append(body, s.seen.Whole[:]...)
		body = le.AppendUint32(body, number(s.Made))
		body = le.AppendUint32(body, number(s.seen.Paths))
	}
	b := []byte(snapshotFormat)
	for _, looks := range x.folders {
		b = append(b, looks[:]...)
	}
	b = le.AppendUint32(b, uint32(len(texts)))
	for _, s := range texts {
		b = append(le.AppendUint32(b, uint32(len(s))), s...)
	}
	b = append(b, body...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// sightingSize is the number of bytes of a sighting.
const sightingSize = 3*32 + 2*16 + 2*4

var errSnapshot = errors.New("the snapshot is damaged")

func parseSnapshot(data []byte) (*Snapshot, error) {
	n := len(data) - sha256.Size
	x := &Snapshot{}
	if n < len(snapshotFormat)+len(x.folders)*len(x.folders[0])+4 || !bytes.HasPrefix(data, []byte(snapshotFormat)) || sha256.Sum256(data[:n]) != [sha256.Size]byte(data[n:]) {
		return nil, errSnapshot
	}
	le := binary.LittleEndian
	b := data[len(snapshotFormat):n]
	for i := range x.folders {
		b = b[copy(x.folders[i][:], b):]
	}
	texts := make([]string, 0, 16)
	count := le.Uint32(b)
	for b = b[4:]; count > 0; count-- {
		if len(b) < 4 || uint64(len(b)-4) < uint64(le.Uint32(b)) {
			return nil, errSnapshot
		}
		k := int(le.Uint32(b))
		texts, b = append(texts, string(b[4:4+k])), b[4+k:]
	}
	if len(b)%sightingSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes are left", errSnapshot, len(b)%sightingSize)
	}
	x.list = make([]sighting, len(b)/sightingSize)
	for i := range x.list {
		s := &x.list[i]
		for _, field := range [][]byte{s.name[:], s.Action[:], s.ID[:], s.seen.There[:], s.seen.Whole[:]} {
			b = b[copy(field, b):]
		}
		made, paths := le.Uint32(b), le.Uint32(b[4:])
		if b = b[8:]; int64(made) >= int64(len(texts)) || int64(paths) >= int64(len(texts)) {
			return nil, errSnapshot
		}
		s.Made, s.seen.Paths = texts[made], texts[paths]
	}
	return x, nil
}
