package imported

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
)

// Range is the range of a metric's values. It decides on which scale the metric is
// analysed.
type Range string

// The ranges.
const (
	Share    Range = "share"    // 0 to 1
	Positive Range = "positive" // above 0
	Any      Range = "any"
)

// Has reports whether a value lies in the range.
func (r Range) Has(x float64) bool {
	switch r {
	case Share:
		return x >= 0 && x <= 1
	case Positive:
		return x > 0
	}
	return true
}

// Description describes a metric. Empty fields are not known.
type Description struct {
	Range  Range
	Better string // "higher" or "lower"
	Unit   string
	Doc    string
}

func (d Description) check() error {
	if !slices.Contains([]Range{"", Share, Positive, Any}, d.Range) {
		return fmt.Errorf("its range %q is unknown; allowed: %s, %s, %s", d.Range, Share, Positive, Any)
	}
	if !slices.Contains([]string{"", "higher", "lower"}, d.Better) {
		return fmt.Errorf("its direction %q is unknown; allowed: higher, lower, or nothing where neither is better", d.Better)
	}
	return nil
}

// Metric is a metric of the results.
type Metric struct {
	Name string
	Description
	GuessedRange  bool // the range was guessed from the values
	GuessedBetter bool // the direction was guessed from the name
}

// guess completes the description of a metric from its name and its values.
func guess(name string, d Description, values []float64) Metric {
	m := Metric{Name: name, Description: d}
	if m.Range == "" {
		m.Range, m.GuessedRange = guessRange(name, values), true
	}
	if m.Better == "" {
		if m.Better = guessBetter(name); m.Better != "" {
			m.GuessedBetter = true
		}
	}
	if m.Unit == "" && m.Range == Share {
		m.Unit = string(Share)
	}
	return m
}

// spread is the least ratio of the largest to the smallest value of a metric that is
// guessed to be positive by nature.
const spread = 10

func guessRange(name string, values []float64) Range {
	low, high := math.Inf(1), math.Inf(-1)
	for _, x := range values {
		low, high = min(low, x), max(high, x)
	}
	switch {
	case low >= 0 && high <= 1 && low < high && !has(strings.ToLower(name), unboundedWords, unboundedParts):
		return Share
	case low > 0 && high/low > spread:
		return Positive
	}
	return Any
}

// The better direction of a metric is guessed from these words. Short ones must be whole
// words of the name, because fidelity begins with fid; long ones may be part of a word.
var (
	lowerWords  = []string{"fid", "kid", "mmd", "cmmd", "kl", "mse", "rmse", "mae", "nll", "ece", "err", "errors", "losses"}
	lowerParts  = []string{"loss", "lpips", "error", "frechet", "fréchet", "perplexity"}
	higherWords = []string{"acc", "auc", "clip", "psnr", "ssim", "hps", "win", "wins", "map", "iou"}
	higherParts = []string{"accuracy", "score", "reward", "align", "recall", "precision", "winrate", "aesthetic", "coverage"}
	// Metrics that are not shares, although their values may lie between 0 and 1.
	unboundedWords = []string{"fid", "kid", "mmd", "cmmd", "kl", "mse", "rmse", "mae", "nll", "psnr"}
	unboundedParts = []string{"loss", "frechet", "fréchet", "distance", "perplexity", "imagereward", "pickscore", "aesthetic"}
)

// has reports whether a word of name is in whole, or contains one of parts.
func has(name string, whole, parts []string) bool {
	return slices.ContainsFunc(wordsOf(name), func(w string) bool {
		return slices.Contains(whole, w) || slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(w, p) })
	})
}

// guessBetter guesses from a metric's name which direction is better. It is empty if the
// name has no such word. If words for both directions occur, as in reward_loss and
// fid_score, "lower" wins.
func guessBetter(name string) string {
	switch {
	case has(name, lowerWords, lowerParts):
		return "lower"
	case has(name, higherWords, higherParts):
		return "higher"
	}
	return ""
}

// wordsOf splits a name at characters that are not letters, and between a lower-case and
// an upper-case letter: eval/FID50k is eval, fid and k; winRate is win and rate.
func wordsOf(name string) []string {
	var words []string
	var word []rune
	var last rune
	flush := func() {
		if len(word) > 0 {
			words, word = append(words, strings.ToLower(string(word))), nil
		}
	}
	for _, r := range name {
		if !unicode.IsLetter(r) {
			flush()
		} else {
			if unicode.IsUpper(r) && unicode.IsLower(last) {
				flush()
			}
			word = append(word, r)
		}
		last = r
	}
	flush()
	return words
}
