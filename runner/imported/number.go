package imported

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// largest is the largest magnitude of a value. It is small enough that the sum of 1e9
// values, each weighted by 1e9 samples, is finite.
const largest = 1e100

// parseNumber parses a number, or true as 1 and false as 0. ok is false if s is neither.
func parseNumber(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	switch s { // before ParseFloat, whose error takes more time than a number
	case "true", "True", "TRUE":
		return 1, true
	case "false", "False", "FALSE":
		return 0, true
	}
	x, err := strconv.ParseFloat(s, 64)
	return x, err == nil && (math.Abs(x) <= largest || !finite(x))
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// mostSamples is the largest number of samples of a row.
const mostSamples = 1e9

// parseCount parses a number of samples, which pandas may have written as 64.0.
func parseCount(s string) (int64, bool) {
	x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || x < 1 || x > mostSamples || x != math.Trunc(x) {
		return 0, false
	}
	return int64(x), true
}

var numeral = regexp.MustCompile(`^-?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)

// canonical returns one spelling for all spellings of an axis value: 1e-4 and 0.0001 are
// the same number, 1.0 and 1 the same whole number, True and true the same truth value.
// 007 is a text and stays as it is.
func canonical(s string) string {
	s = strings.TrimSpace(s)
	switch s {
	case "True", "TRUE":
		return "true"
	case "False", "FALSE":
		return "false"
	}
	if !numeral.MatchString(s) {
		return s
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return strconv.FormatInt(i, 10)
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		return strconv.FormatInt(int64(x), 10)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}
