package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Study is what study.json has of a study, in the folder of its results.
type Study struct {
	Study   string `json:"study"`   // its name
	Root    string `json:"root"`    // absolute path of its module's folder
	Backend string `json:"backend"` // class that its last run computed on
}

const studyFile = "study.json"

// ReadStudy reads study.json in a folder of results. Where there is none the
// answer is the zero Study.
func ReadStudy(dir string) (Study, error) {
	var st Study
	name := filepath.Join(dir, studyFile)
	data, err := readRegular(name, mostStudy)
	switch {
	case absent(err):
		return st, nil
	case errors.Is(err, errNoFile):
		return st, fmt.Errorf("%w: move it away, and the next run writes it again", err)
	case err != nil:
		return st, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err = d.Decode(&st)
	if _, more := d.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("there is more than one object")
	}
	if err == nil && (st.Study == "" || st.Root == "") {
		err = errors.New("it names no study or no module")
	}
	if err != nil {
		return Study{}, fmt.Errorf("%s: %w: delete it, and the next run writes it again", name, err)
	}
	return st, nil
}

// StudyFolder returns the folder of a study's results (the name of a study at the
// root of its module begins with ./, which no other does): that of its name, or, where
// a study of that name in another module has it, that of its name and module. It
// makes nothing. root is the absolute path of the module's folder.
func (s *Store) StudyFolder(name, root string) string {
	plain, own := s.studyFolders(name, root)
	for _, dir := range []string{plain, own} {
		if st, err := ReadStudy(dir); err == nil && st.Study == name && st.Root == root {
			return dir
		}
	}
	if s.free(plain) {
		return plain
	}
	return own
}

// studyFolders are the two folders that a study may have. Names are flat, so that
// none lies in another's folder: / is ~1 and ~ is ~0, as in JSON pointers.
func (s *Store) studyFolders(name, root string) (plain, own string) {
	plain = filepath.Join(s.dir, "studies", strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	sum := sha256.Sum256([]byte(root))
	return plain, fmt.Sprintf("%s-%x", plain, sum[:4])
}

// free reports whether a folder of results is nobody's, or that of a module that
// is no longer where it was.
func (s *Store) free(dir string) bool {
	st, err := ReadStudy(dir)
	if err != nil {
		return false
	}
	if st.Root == "" {
		return true
	}
	_, err = os.Stat(filepath.Join(st.Root, "cue.mod"))
	return absent(err)
}

// ClaimStudy makes the folder of a study's results, writes down that it is that of
// the study, and the class of backend that a run computes on, and returns it.
func (s *Store) ClaimStudy(name, root, backend string) (string, error) {
	if !safePath(strings.TrimPrefix(name, "./")) {
		return "", fmt.Errorf("study name %q: not a relative path", name)
	}
	if err := s.prepare(); err != nil {
		return "", err
	}
	want := Study{name, root, backend}
	data, err := json.Marshal(want)
	if err != nil {
		return "", err
	}
	tmp := s.tempName()
	defer os.Remove(tmp) // it is swept later where this fails
	if err := writeSynced(tmp, append(data, '\n'), s.shared()); err != nil {
		return "", s.fail(err)
	}
	for range 10 { // again after another module has taken the folder meanwhile
		dir := s.StudyFolder(name, root)
		if err := s.mkdir(dir); err != nil {
			return "", s.fail(err)
		}
		file := filepath.Join(dir, studyFile)
		was, _ := os.Lstat(file)
		have, err := ReadStudy(dir)
		switch {
		case err != nil:
			return "", s.fail(err)
		case have == want:
			return dir, nil
		case have.Study == name && have.Root == root:
			return dir, s.fail(os.Rename(tmp, file))
		case have != Study{} && s.free(dir):
			s.quarantine(file, was, studyFile)
		case have != Study{}:
			continue
		}
		s.at("claiming")
		if err := place(tmp, file); !errors.Is(err, fs.ErrExist) {
			return dir, s.fail(err)
		}
	}
	return "", fmt.Errorf("store %s: the folder of study %s is taken by others: try again", s.dir, name)
}
