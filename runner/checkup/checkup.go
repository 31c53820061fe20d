// Package checkup finds problems before anything runs: those of this machine, and
// those of a study on it.
package checkup

// A Finding is something that was checked.
type Finding struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // how to mend it
}
