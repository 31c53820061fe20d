package imported

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// picture adds the file of a picture to a run. Of several pictures of one prompt, it
// keeps the first by path.
func (c *collector) picture(r *run, prompt int, path string, at place) {
	if r.pictures == nil {
		r.pictures = map[int]picture{}
	}
	if old, ok := r.pictures[prompt]; !ok || path < old.path {
		r.pictures[prompt] = picture{strings.Clone(path), at}
	}
}

// path returns the path of a picture.
func (c *collector) path(p picture) string {
	if filepath.IsAbs(p.path) {
		return p.path
	}
	return filepath.Join(filepath.Dir(c.files[p.at.file]), filepath.FromSlash(p.path))
}

// missingPictures reports pictures that do not exist. If the options do not name the
// column and none of its pictures exists, the column is taken to contain something else.
func (c *collector) missingPictures() {
	all, missing := 0, []problem{}
	for _, x := range c.runs {
		for i, p := range x.pictures {
			all++
			if info, err := os.Stat(c.path(p)); err != nil || !info.Mode().IsRegular() {
				missing = append(missing, problem{Problem{Kind: NoPicture, Wrong: fmt.Sprintf("the picture %q of %s does not exist", p.path, c.view(x)),
					Allowed: "a PNG, JPEG, GIF or WebP file, relative to the folder of the results", Do: "correct the path; until then the report shows no picture here"}, p.at})
				delete(x.pictures, i)
			}
		}
	}
	if _, named := c.o.Columns["image"]; !named && all > 0 && len(missing) == all {
		c.note("none of the files that a column %s names exists: the report has no pictures", strings.Join(imageColumns, " or "))
		return
	}
	slices.SortFunc(missing, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.at.file, b.at.file), cmp.Compare(a.at.line, b.at.line))
	})
	for _, q := range missing {
		c.problems.add(q)
	}
}

// pictures returns the pictures of a run, sorted by prompt.
func (c *collector) pictures(x *run) []Picture {
	var out []Picture
	for i, p := range x.pictures {
		out = append(out, Picture{c.prompts.list[i], c.path(p)})
	}
	slices.SortFunc(out, func(a, b Picture) int { return cmp.Compare(a.Prompt, b.Prompt) })
	return out
}
