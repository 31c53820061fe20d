// Package checkup checks a study and the machine for problems before anything runs.
package checkup

// A Finding is the result of one check.
type Finding struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // how to fix the problem
}
