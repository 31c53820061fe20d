package project

import (
	"fmt"
	"slices"
	"strings"

	"ablate/experiments/language"
	"ablate/runner/world"
)

// categories returns the categories of the prompts on which the study's models are evaluated: those
// of the shapes world, and the tags of the files of prompts that are used. It is an error if the
// study names a metric of another category.
func (p Project) categories(files promptFiles) ([]string, error) {
	type list struct {
		file   string // empty for the shapes world and for grammars, which have its categories
		images int
	}
	seen := map[list]bool{}
	var out []string
	for _, v := range p.Study.Views {
		c := v.Trial.Content
		l := list{c.Name("prompts.evaluate"), 0}
		if l.file != "" {
			l.images = c.Whole("evaluate.images")
		}
		if seen[l] {
			continue
		}
		seen[l] = true
		tags := world.Categories()
		if l.file != "" {
			prompts, err := p.prompts(files, "prompts.evaluate", l.file)
			if err != nil {
				return nil, err
			}
			tags = nil
			for _, q := range prompts[:min(l.images, len(prompts))] {
				tags = append(tags, q.Tag)
			}
		}
		for _, tag := range tags {
			if tag != "" && !slices.Contains(out, tag) {
				out = append(out, tag)
			}
		}
	}
	var wrong []*language.Error
	for _, m := range p.Study.Tagged {
		if category, _, _ := strings.Cut(strings.TrimPrefix(m.Metric, "alignment."), "."); !slices.Contains(out, category) {
			hint := "write tags in the file of prompts"
			if len(out) > 0 {
				hint = "tags are " + strings.Join(out, ", ")
			}
			wrong = append(wrong, m.Where.With(fmt.Sprintf("no evaluation prompt has the tag of %s", m.Metric), hint))
		}
	}
	if wrong != nil {
		return nil, &language.Errors{List: wrong}
	}
	return out, nil
}
