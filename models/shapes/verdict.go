package shapes

import "fmt"

// Verdict is a judgement of an image against a prompt.
type Verdict int8

// The verdicts. Skip is that on an image that the parser cannot read. It counts as not
// aligned.
const (
	Bad Verdict = iota
	Good
	Skip
)

func (v Verdict) String() string {
	switch v {
	case Bad:
		return "bad"
	case Good:
		return "good"
	case Skip:
		return "skip"
	}
	return fmt.Sprintf("Verdict(%d)", int8(v))
}
