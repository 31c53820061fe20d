package text

import (
	"fmt"
	"io"
	"strings"

	"ablate/analysis/compare"
	"ablate/reports/format"
)

// Floors writes the noise of the reference, and the smallest differences that numbers of
// seeds can find.
func Floors(w io.Writer, t *compare.Table, floors []compare.Floor, width int) error {
	noise := [][]string{{"metric", "seeds", t.Reference, "SD over seeds", "SD of a difference (rows)"}}
	head := []string{"smallest difference", "corrected for"}
	for _, f := range floors[0].Find {
		head = append(head, fmt.Sprintf("%d seeds", f.Seeds))
	}
	find := [][]string{head}
	for _, f := range floors {
		name := f.Metric
		if m, ok := t.Metric(f.Metric); ok {
			name = m.Label
		}
		n := func(x float64) string { return format.Number(t.Digits(f.Metric), x) }
		noise = append(noise, []string{name, fmt.Sprint(f.Seeds), n(f.Mean), n(f.SD), fmt.Sprintf("%s (%d)", n(f.Paired), f.Rows)})
		alone, corrected := []string{name, "1 comparison"}, []string{"", format.Count(t.Family, "comparison")}
		for _, s := range f.Find {
			alone, corrected = append(alone, n(s.Alone)), append(corrected, n(s.Corrected))
		}
		find = append(find, alone, corrected)
	}
	var b strings.Builder
	blocks(&b, noise, width)
	blocks(&b, find, width)
	wrap(&b, "", "Found with 80% power at 5%, two-sided, on average over what the true standard deviation of the median row's differences may be. Differences are paired by seed.", width)
	_, err := io.WriteString(w, b.String())
	return err
}
