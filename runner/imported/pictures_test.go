package imported

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPictures: of several pictures of a run and prompt, the first by path is kept,
// whatever the order of the rows. A missing picture is a warning with its line, unless
// the column has a usual name for pictures but contains something else.
func TestPictures(t *testing.T) {
	lines := []string{"a,1,cat,1,b.png", "a,1,cat,0,a.png", "a,2,cat,1,deep/c.png", "a,1,dog,1,gone.png", "a,2,dog,1,"}
	read := func(lines []string, files ...string) (*Results, string) {
		t.Helper()
		path := write(t, "r.csv", "arm,seed,prompt,aligned,image\n"+strings.Join(lines, "\n")+"\n")
		dir := filepath.Dir(path)
		for _, f := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return read(t, Options{}, path), dir
	}
	backwards := slices.Clone(lines)
	slices.Reverse(backwards)
	for _, lines := range [][]string{lines, backwards} {
		r, dir := read(lines, "a.png", "b.png", "deep/c.png")
		want := [][]Picture{{{"cat", filepath.Join(dir, "a.png")}}, {{"cat", filepath.Join(dir, "deep", "c.png")}}}
		if d := cmp.Diff(want, [][]Picture{r.Runs[0].Pictures, r.Runs[1].Pictures}); d != "" {
			t.Error(d)
		}
		problems, _ := said(r)
		if len(problems) != 1 || !strings.HasPrefix(problems[0], `picture: r.csv:`) || !strings.Contains(problems[0], `the picture "gone.png" of a@1 does not exist`) {
			t.Errorf("problems %q", problems)
		}
		if r.Err() != nil {
			t.Errorf("a missing picture stops the import: %v", r.Err())
		}
	}
	r, _ := read(lines)
	if problems, notes := said(r); len(problems) != 0 || !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, "none of the files") }) || r.Runs[0].Pictures != nil {
		t.Errorf("no picture is there: problems %q, notes %q, pictures %v", problems, notes, r.Runs[0].Pictures)
	}
}

// TestPicturesNamed: a column of pictures that the options name must exist, and there
// must be a column of prompts.
func TestPicturesNamed(t *testing.T) {
	path := write(t, "r.csv", "arm,seed,prompt,aligned,file\na,1,cat,1,x.png\n")
	if problems, _ := said(read(t, Options{Columns: map[string]string{"image": "file"}}, path)); len(problems) != 1 || !strings.HasPrefix(problems[0], "picture: r.csv:2:") {
		t.Errorf("problems %q", problems)
	}
	if problems, _ := said(read(t, Options{Columns: map[string]string{"image": "files"}}, path)); len(problems) != 1 || !strings.Contains(problems[0], `it has no column "files"`) {
		t.Errorf("problems %q", problems)
	}
	path = write(t, "r.csv", "arm,seed,fid,file\na,1,12,x.png\n")
	if problems, _ := said(read(t, Options{Columns: map[string]string{"image": "file"}}, path)); len(problems) != 1 || !strings.Contains(problems[0], "pictures and no prompts") {
		t.Errorf("problems %q", problems)
	}
}
