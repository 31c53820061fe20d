package imported

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// largest is the largest magnitude of a value: a sum of a thousand million of them,
// each for as many samples, is finite.
const largest = 1e100

// parseNumber reads a number, or true or false as 1 or 0; false where it is neither.
func parseNumber(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	switch s { // first, for the error of ParseFloat costs more than a number
	case "true", "True", "TRUE":
		return 1, true
	case "false", "False", "FALSE":
		return 0, true
	}
	x, err := strconv.ParseFloat(s, 64)
	return x, err == nil && (math.Abs(x) <= largest || !finite(x))
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// mostSamples bounds the samples of a row.
const mostSamples = 1e9

// parseCount reads a number of samples, which pandas may have written as 64.0.
func parseCount(s string) (int64, bool) {
	x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || x < 1 || x > mostSamples || x != math.Trunc(x) {
		return 0, false
	}
	return int64(x), true
}

var numeral = regexp.MustCompile(`^-?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)

// canonical is the one text of a value of an axis: 1e-4 and 0.0001 are one number,
// 1.0 and 1 one whole number, True and true one truth. 007 is a text.
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
