package language

// Typed reading of a content: what a trial does not use is the zero value. Stages read
// their parameters by path (runner/stage, Fill); these are for whoever decides what a
// trial consists of.

// Whole returns a whole number of a trial.
func (c Content) Whole(path string) int {
	v, _ := c.Value(path)
	n, _ := v.(int64)
	return int(n)
}

// Real returns a real number of a trial.
func (c Content) Real(path string) float64 {
	v, _ := c.Value(path)
	x, _ := v.(float64)
	return x
}

// Name returns a name of a trial.
func (c Content) Name(path string) string {
	v, _ := c.Value(path)
	s, _ := v.(string)
	return s
}

// Learns reports whether a trial's reward is a model that learns from labels.
func (c Content) Learns() bool {
	loss := c.Name("reward.loss")
	return loss != "" && loss != "none" && loss != "oracle"
}
