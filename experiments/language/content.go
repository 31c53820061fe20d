package language

// Typed access to a content. A parameter that the trial does not use gives the zero value.
// Stages read their parameters by path (runner/stage, Fill); these methods are for code that
// decides which stages a trial has.

// Whole returns the whole number at a path, 0 where the trial does not use it.
func (c Content) Whole(path string) int {
	v, _ := c.Value(path)
	n, _ := v.(int64)
	return int(n)
}

// Real returns the real number at a path, 0 where the trial does not use it.
func (c Content) Real(path string) float64 {
	v, _ := c.Value(path)
	x, _ := v.(float64)
	return x
}

// Name returns the name at a path, "" where the trial does not use it.
func (c Content) Name(path string) string {
	v, _ := c.Value(path)
	s, _ := v.(string)
	return s
}

// Truth returns the truth value at a path, false where the trial does not use it.
func (c Content) Truth(path string) bool {
	v, _ := c.Value(path)
	b, _ := v.(bool)
	return b
}

// Learns reports whether a trial's reward is a model that is trained on labels.
func (c Content) Learns() bool {
	loss := c.Name("reward.loss")
	return loss != "" && loss != "none" && loss != "oracle"
}

// Gold returns the engine and column of the gold, ENGINE.COLUMN; empty where it is the parser of
// the shapes world or there is none.
func (c Content) Gold() string {
	if engine := c.Name("evaluate.gold.engine"); engine != "" {
		return engine + "." + c.Name("evaluate.gold.column")
	}
	return ""
}
