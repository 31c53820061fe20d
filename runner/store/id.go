package store

import (
	"encoding/hex"
	"fmt"
)

// IDSize is the number of bytes of an id, which is a SHA-256 sum.
const IDSize = 32

// shortLen is the number of hexadecimal digits of an id in messages.
const shortLen = 12

// ActionID names an action: the hash of a complete description of a computation.
type ActionID [IDSize]byte

// OutputID names an artifact: the hash of its bytes.
type OutputID [IDSize]byte

// ParseActionID reads the 64 lower-case hexadecimal digits of an action's id.
func ParseActionID(s string) (ActionID, error) {
	b, err := parseID(s)
	return ActionID(b), err
}

// ParseOutputID reads the 64 lower-case hexadecimal digits of an artifact's id.
func ParseOutputID(s string) (OutputID, error) {
	b, err := parseID(s)
	return OutputID(b), err
}

// String returns all 64 hexadecimal digits.
func (id ActionID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 12 digits, for people.
func (id ActionID) Short() string { return id.String()[:shortLen] }

// IsZero reports whether the id is unset.
func (id ActionID) IsZero() bool { return id == ActionID{} }

// MarshalText writes the id as String does.
func (id ActionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ActionID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseActionID(string(b))
	return err
}

// String returns all 64 hexadecimal digits.
func (id OutputID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 12 digits, for people.
func (id OutputID) Short() string { return id.String()[:shortLen] }

// IsZero reports whether the id is unset.
func (id OutputID) IsZero() bool { return id == OutputID{} }

// MarshalText writes the id as String does.
func (id OutputID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *OutputID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseOutputID(string(b))
	return err
}

// parseID accepts only lower-case digits, so that equal ids are equal texts.
func parseID(s string) (id [IDSize]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != IDSize || hex.EncodeToString(b) != s {
		return id, fmt.Errorf("id %.80q: must be %d lower-case hexadecimal digits", s, 2*IDSize)
	}
	return [IDSize]byte(b), nil
}
