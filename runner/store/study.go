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

// Study is the content of study.json in a study's folder of results.
type Study struct {
	Study   string `json:"study"`   // name of the study
	Root    string `json:"root"`    // absolute path of its module's folder
	Backend string `json:"backend"` // class of backend of its last run
}

const studyFile = "study.json"

// ReadStudy reads study.json in a folder of results. If there is none, it returns the
// zero Study.
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
		err = errors.New("it has more than one object")
	}
	if err == nil && (st.Study == "" || st.Root == "") {
		err = errors.New("it names no study or no module")
	}
	if err != nil {
		return Study{}, fmt.Errorf("%s: %w: delete it, and the next run writes it again", name, err)
	}
	return st, nil
}

// StudyFolder returns the folder of a study's results. It is named after the study, or
// after the study and its module if a study of the same name in another module has that
// folder. root is the absolute path of the module's folder. The name of a study at the
// root of its module begins with ./, and no other name does. StudyFolder creates nothing.
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

// studyFolders returns the two folders that a study may have: one named after the study,
// one after the study and its module. In their names / is written ~1, and ~ is written
// ~0, as in JSON pointers, so that no folder lies in another one.
func (s *Store) studyFolders(name, root string) (plain, own string) {
	plain = filepath.Join(s.dir, "studies", strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	sum := sha256.Sum256([]byte(root))
	return plain, fmt.Sprintf("%s-%x", plain, sum[:4])
}

// free reports whether a folder of results belongs to no study, or to one of a module
// that is no longer in its place.
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

// ClaimStudy creates the folder of a study's results and returns it. It records in
// study.json the study and the class of backend that a run computes on.
func (s *Store) ClaimStudy(name, root, backend string) (string, error) {
	if !safePath(strings.TrimPrefix(name, "./")) {
		return "", fmt.Errorf("study name %q: must be a relative path", name)
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
	defer os.Remove(tmp) // if this fails, a later run removes it
	if err := writeSynced(tmp, append(data, '\n'), s.shared()); err != nil {
		return "", s.fail(err)
	}
	for range 10 { // again if another module has taken the folder meanwhile
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
			if _, err := s.quarantine(file, was, studyFile); err != nil {
				return "", s.fail(err)
			}
		case have != Study{}:
			continue
		}
		s.at("claiming")
		if err := place(tmp, file); !errors.Is(err, fs.ErrExist) {
			return dir, s.fail(err)
		}
	}
	return "", fmt.Errorf("store %s: other processes keep taking the folder of study %s: try again", s.dir, name)
}
