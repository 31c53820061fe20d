package report

import (
	"cmp"
	"context"
	"fmt"
	"image"
	_ "image/gif" // decoders of pictures
	_ "image/jpeg"
	_ "image/png"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
	_ "golang.org/x/image/webp" // decoder of pictures

	"ablate/analysis/table"
	"ablate/reports/page"
	"ablate/runner/imported"
	"ablate/runner/phrase"
	"ablate/runner/result"
)

// ofImported returns the contents of the report of imported results.
func ofImported(ctx context.Context, r *result.Result) page.Report {
	s := r.Project.Study
	rep := page.Report{Name: s.Name, Title: s.Title, Question: s.Question, Table: r.Ablation, Curves: r.Tables.Curves,
		Methods: []string{statistics(r)}, Imported: true, Provenance: page.Provenance{Command: "ablate report " + phrase.Shell(s.Path)},
		Exchanges: r.Sums.Exchanges(r.Ablation)}
	rep.Samples, rep.Image = importedPictures(ctx, r)
	seen := map[string]bool{}
	for _, row := range r.Ablation.Rows {
		rep.Parameters = append(rep.Parameters, page.Parameters{Label: row.Label})
		for _, name := range row.Seeds {
			if !seen[name] {
				seen[name] = true
				rep.Seeds = append(rep.Seeds, name)
			}
		}
	}
	return rep
}

// importedPictures returns a table with one row per prompt and run that has a picture,
// and a function that returns a picture. For a picture that cannot be read, the function
// logs a warning and returns nil.
func importedPictures(ctx context.Context, r *result.Result) (*table.Table, func(trial, set string, index int) (image.Image, error)) {
	in := r.Imported
	var prompts []string
	for _, x := range in.Runs {
		for _, p := range x.Pictures {
			prompts = append(prompts, p.Prompt)
		}
	}
	slices.SortFunc(prompts, func(a, b string) int {
		return cmp.Or(cmp.Compare(in.Categories[a], in.Categories[b]), cmp.Compare(a, b))
	})
	prompts = slices.Compact(prompts)
	var pictures []result.Picture
	paths := map[string][]string{} // by trial, in the order of prompts; empty if there is no picture
	trials := r.Tables.Trials.Column("trial").Strings
	for i, x := range in.Runs {
		if len(x.Pictures) == 0 {
			continue
		}
		of := make([]string, len(prompts))
		for k, p := range prompts {
			if at, ok := slices.BinarySearchFunc(x.Pictures, p, func(a imported.Picture, p string) int { return cmp.Compare(a.Prompt, p) }); ok {
				of[k] = x.Pictures[at].Path
			}
			pictures = append(pictures, result.Picture{Trial: trials[i], Index: k, Prompt: p, Category: in.Categories[p], Caption: means(in, x, p)})
		}
		paths[trials[i]] = of
	}
	return result.Pictured(pictures), func(trial, _ string, index int) (image.Image, error) {
		path := paths[trial][index]
		if path == "" {
			return nil, nil
		}
		img, err := decode(path)
		if err != nil {
			zerolog.Ctx(ctx).Warn().Str("file", path).Err(err).Msg("the report leaves out a picture that cannot be read")
			return nil, nil
		}
		return img, nil
	}
}

// mostMeans is the largest number of metrics in the caption of a picture.
const mostMeans = 4

// means returns the means of a run's metrics over its images of a prompt: "aligned 1,
// clip 0.312".
func means(in *imported.Results, x imported.Run, prompt string) string {
	var out []string
	for k, v := range x.Values {
		at, ok := slices.BinarySearchFunc(v.Prompts, prompt, func(a imported.PromptSum, p string) int { return cmp.Compare(a.Prompt, p) })
		if ok && len(out) < mostMeans {
			out = append(out, in.Metrics[k].Name+" "+strconv.FormatFloat(v.Prompts[at].Sum/float64(v.Prompts[at].N), 'g', 3, 64))
		}
	}
	return strings.Join(out, ", ")
}

// mostPixels is the largest number of pixels of a picture that is decoded, because a small file
// may claim any size.
const mostPixels = 1 << 26

// decode reads a picture.
func decode(path string) (image.Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, _, err := image.DecodeConfig(f)
	if err != nil {
		return nil, fmt.Errorf("%w; write it as PNG, JPEG, GIF or WebP", err)
	}
	if c.Width <= 0 || c.Height <= 0 || c.Width > mostPixels/c.Height {
		return nil, fmt.Errorf("it has %d × %d pixels; at most %d are read", c.Width, c.Height, mostPixels)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, err
	}
	img, _, err := image.Decode(f)
	return img, err
}
