package compare

import "ablate/analysis/table"

// Stopped says that a row was stopped early, by its proxy, with all its seeds. Such a row has
// no values. It counts as a comparison in which no difference was found, so that the tests of
// the rows that went on are corrected for all rows that might have: their p values then keep
// the family-wise error rate, however the proxy depends on the metrics.
type Stopped struct {
	Step  int      `json:"step"`            // number of steps of fine-tuning after which it was stopped
	Proxy *float64 `json:"proxy,omitempty"` // mean over seeds of its proxy then, on the probe images; absent where a seed failed before
}

// Columns of trials.arrow with the same.
const (
	StoppedColumn = "stopped"
	StoppedProxy  = "stopped.proxy"
)

// stopped returns how a row was stopped, or nil.
func (b *builder) stopped(r *grouped) *Stopped {
	at, proxy := b.columns[StoppedColumn], b.columns[StoppedProxy]
	if at == nil || at.Kind != table.Int || !at.Has(r.views[0]) {
		return nil
	}
	out := &Stopped{Step: int(at.Ints[r.views[0]])}
	if proxy == nil || proxy.Kind != table.Float {
		return out
	}
	var sum float64
	for _, v := range r.views {
		if !has(proxy, v) {
			return out
		}
		sum += proxy.Floats[v]
	}
	sum /= float64(len(r.views))
	out.Proxy = &sum
	return out
}

// untested returns the number of comparisons with rows that were stopped, in one metric.
func (b *builder) untested() (n int) {
	stopped := map[string]bool{}
	for _, r := range b.t.Rows {
		if stopped[r.Label] = r.Stopped != nil; r.Stopped != nil && r.SameAs == "" {
			n++
		}
	}
	for _, c := range b.t.Contrasts {
		if stopped[c.A] || stopped[c.B] {
			n++
		}
	}
	return n
}

// withUntested returns p values with those of n comparisons that were not made added, which
// are 1.
func withUntested(p []float64, n int) []float64 {
	for range n {
		p = append(p, 1)
	}
	return p
}
