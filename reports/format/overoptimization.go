package format

import (
	"fmt"
	"strings"

	"ablate/analysis/compare"
)

// OverOptimization returns sentences on the result of the test of over-optimization.
func OverOptimization(o *compare.OverOptimization) string {
	const means = "the proxy (the learned reward's score) rises while the gold (the judge's share of good images) falls, from an earlier probe (a measurement during a fine-tuning) to the last"
	if o.Rows == 0 {
		return "Over-optimization is not tested, which takes three seeds of a row. It would mean that " + means + "."
	}
	few := ""
	if o.Few > 0 {
		few = fmt.Sprintf(" Not tested, with fewer than three seeds: %s.", Count(o.Few, "row"))
	}
	if len(o.Found) == 0 {
		return fmt.Sprintf("No significant over-optimization in %s. It would mean that %s (%s of probes, paired by seed, corrected by Holm).%s", Count(o.Rows, "row"), means, Count(o.Family, "pair"), few)
	}
	var list []string
	const most = 4
	for _, f := range o.Found[:min(len(o.Found), most)] {
		list = append(list, fmt.Sprintf("“%s” from step %d to %d: proxy %s, gold %s (%s)", f.Row, f.From, f.To, corrected(0, f.Proxy), corrected(0, f.Gold), Count(f.Gold.N, "seed")))
	}
	if rest := len(o.Found) - most; rest > 0 {
		list = append(list, fmt.Sprintf("and %d more", rest))
	}
	return fmt.Sprintf("Over-optimization, which means that %s, is significant in %d of %s: %s. Changes are paired by seed; intervals are corrected for %s of probes (Holm).%s",
		means, len(o.Found), Count(o.Rows, "row"), strings.Join(list, "; "), Count(o.Family, "pair"), few)
}

// corrected returns a difference with its corrected interval.
func corrected(digits int, d compare.Difference) string {
	return Signed(digits, d.Mean) + " " + Bounds(digits, *d.Corrected)
}
