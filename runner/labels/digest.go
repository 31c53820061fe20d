package labels

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Digest returns the SHA-256 of what a set says. It depends neither on the order of the rows or
// of a pair's images, nor on the format and the places that they were read from, nor on spaces
// and the form of Unicode in prompts.
func (s *Set) Digest() (string, error) {
	rows := make([][sha256.Size]byte, 0, len(s.Labels)+len(s.Pairs)) // hashes, because sets may be large
	add := func(row any) error {
		b, err := json.Marshal(row)
		rows = append(rows, sha256.Sum256(b))
		return err
	}
	for _, l := range s.Labels {
		l.Prompt, l.Source, l.Time = Normal(l.Prompt), "", l.Time.UTC()
		if err := add(l); err != nil {
			return "", err
		}
	}
	for _, p := range s.Pairs {
		p = p.ordered()
		p.Prompt, p.Source, p.Time = Normal(p.Prompt), "", p.Time.UTC()
		if err := add(p); err != nil {
			return "", err
		}
	}
	slices.SortFunc(rows, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	h := sha256.New()
	for _, r := range rows {
		h.Write(r[:])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
