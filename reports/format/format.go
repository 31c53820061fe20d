// Package format words an ablation table: numbers, intervals, notes and sentences, the
// same for terminal, HTML, Markdown and LaTeX.
package format

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"ablate/analysis/compare"
)

// Number is a value with some decimals (compare.Metric, Digits; 0 stands for 3), without the
// zero before a point of three decimals, as papers write shares, and with the minus sign
// U+2212.
func Number(digits int, v float64) string {
	digits = cmp.Or(digits, compare.Digits)
	s := strconv.FormatFloat(math.Abs(v), 'f', digits, 64)
	if digits == 3 {
		if rest, ok := strings.CutPrefix(s, "0."); ok {
			s = "." + rest
		}
	}
	return sign(v, s)
}

// Fixed is a number with some decimals and the zero before its point, as on the axis of a
// figure.
func Fixed(v float64, decimals int) string {
	return sign(v, strconv.FormatFloat(math.Abs(v), 'f', decimals, 64))
}

// sign puts the minus sign of v before its digits, unless all of these are 0.
func sign(v float64, digits string) string {
	if v < 0 && strings.Trim(digits, "0.") != "" {
		return "−" + digits
	}
	return digits
}

// Size is a size that a study declares, with the digits that it declares.
func Size(digits int, v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if cmp.Or(digits, compare.Digits) == 3 {
		s = strings.TrimPrefix(s, "0")
	}
	return s
}

// Signed is Number with a plus where it is positive.
func Signed(digits int, v float64) string {
	s := Number(digits, v)
	if v > 0 && strings.Trim(s, "0.") != "" {
		s = "+" + s
	}
	return s
}

// P is a p value. Its tail rests on a distribution that few seeds cannot show, so that
// nothing is printed below .0001.
func P(p float64) string {
	switch {
	case p < 1e-4:
		return "< .0001"
	case p < .01, .045 <= p && p < .055: // near .05 two digits would not show on which side p lies
		return strings.TrimPrefix(strconv.FormatFloat(p, 'f', 4, 64), "0")
	}
	return strings.TrimPrefix(strconv.FormatFloat(p, 'f', 2, 64), "0")
}

// Cell is a value with its interval, or with its seeds' values where there is none.
func Cell(digits int, c compare.Cell) string { return cell(digits, c, Number) }

// Change is a difference with its interval, or with its seeds' values.
func Change(digits int, c compare.Cell) string { return cell(digits, c, Signed) }

// Compact is Change without seeds' values.
func Compact(digits int, c compare.Cell) string {
	s := Signed(digits, c.Mean)
	if c.Interval != "" {
		s += " " + bounds(digits, c.Low, c.High, Signed)
	}
	return s
}

// Spread is what stands below a mean in a table of two lines a row: its interval, or its
// seeds' values where there is none.
func Spread(digits int, c compare.Cell) string { return spread(digits, c, Number) }

// ChangeSpread is Spread of a difference.
func ChangeSpread(digits int, c compare.Cell) string { return spread(digits, c, Signed) }

func cell(digits int, c compare.Cell, number func(digits int, v float64) string) string {
	return strings.TrimSpace(number(digits, c.Mean) + " " + spread(digits, c, number))
}

func spread(digits int, c compare.Cell, number func(digits int, v float64) string) string {
	switch {
	case c.Interval != "":
		return bounds(digits, c.Low, c.High, number)
	case slices.ContainsFunc(c.Values, func(x float64) bool { return x != c.Values[0] }):
		var v []string
		for _, x := range c.Values {
			v = append(v, number(digits, x))
		}
		return "(" + strings.Join(v, " ") + ")"
	}
	return ""
}

// Bounds are those of the interval of a difference.
func Bounds(digits int, b compare.Bounds) string { return bounds(digits, b.Low, b.High, Signed) }

func bounds(digits int, low, high float64, number func(digits int, v float64) string) string {
	text := func(v float64) string {
		s := number(digits, v)
		// Rounding must not make an interval that excludes 0 look as if it ended there.
		for n := cmp.Or(digits, compare.Digits) + 1; n <= 6 && low*high > 0 && strings.Trim(s, "+−0.") == ""; n++ {
			s = number(n, v)
			if cmp.Or(digits, compare.Digits) == compare.Digits {
				s = strings.Replace(s, "0.", ".", 1)
			}
		}
		return s
	}
	return "[" + text(low) + ", " + text(high) + "]"
}

// Arrow shows which direction of a metric is better.
func Arrow(better string) string { return map[string]string{"higher": "↑", "lower": "↓"}[better] }

// Direction says which direction of a metric is better.
func Direction(better string) string {
	return map[string]string{"higher": " (higher is better)", "lower": " (lower is better)"}[better]
}

// Label names a row, with what a reader must know of it.
func Label(r compare.Row) string {
	s := r.Name()
	switch {
	case r.Part:
		s += " (part of " + r.SameAs + ")"
	case r.SameAs != "":
		s += " (= " + r.SameAs + ")"
	}
	return s
}

// Point names the point of a row by the last part of each axis, "beta=0.1 rounds=8", and
// marks a control.
func Point(r compare.Row) string {
	same := func(s string) string { return s }
	return point(r, same, same)
}

// BriefPoint is Point with initials for names of several words, "lR" for learningRate, and
// small numbers in powers of ten.
func BriefPoint(r compare.Row) string {
	name := func(s string) string {
		initials := []rune{}
		for i, c := range s {
			if i == 0 || unicode.IsUpper(c) {
				initials = append(initials, c)
			}
		}
		if len(initials) > 1 {
			return string(initials)
		}
		return s
	}
	return point(r, name, Level)
}

// Level is a value on an axis, in powers of ten where that is shorter.
func Level(s string) string {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	if e := strings.Replace(strconv.FormatFloat(x, 'e', -1, 64), "e-0", "e-", 1); len(e) < len(s) {
		return e
	}
	return s
}

// Axis is the last part of an axis' path; of several that are coupled, of each.
func Axis(path string) string {
	parts := strings.Split(path, "+")
	for i, p := range parts {
		parts[i] = p[strings.LastIndexByte(p, '.')+1:]
	}
	return strings.Join(parts, "+")
}

func point(r compare.Row, axis, value func(string) string) string {
	var parts []string
	for _, v := range r.Point {
		parts = append(parts, axis(Axis(v.Axis))+"="+value(v.Value))
	}
	if r.Control {
		parts = append(parts, "(control)")
	}
	return strings.Join(parts, " ")
}

// Brief names a row by its arm and Point. An arm that is called after its one axis is not
// named twice: "beta=0.1", and not "beta beta=0.1".
func Brief(r compare.Row) string {
	if len(r.Point) == 1 {
		if axis := Axis(r.Point[0].Axis); r.Arm == axis || strings.HasSuffix(r.Arm, " "+axis) {
			return strings.TrimSuffix(r.Arm, axis) + Point(r)
		}
	}
	return strings.TrimSpace(r.Arm + " " + Point(r))
}

// Needs are the seeds that a difference needs, and those that it has.
func Needs(d compare.Difference) string {
	switch {
	case d.Needs > 0:
		return fmt.Sprintf("%d (%d)", d.Needs, d.N)
	case d.MorePrompts > 0:
		return fmt.Sprintf("no number (%d)", d.N)
	case d.TooMany:
		return fmt.Sprintf("> 10,000 (%d)", d.N)
	}
	return "–"
}

// Effect names an effect.
func Effect(e compare.Effect) string {
	name := strings.Join(e.Factors, " × ")
	switch {
	case e.Kind == compare.Trend:
		return name + ", trend"
	case e.Kind == compare.Range, e.Kind == compare.Main && len(e.Levels) == 2:
		return name + ": " + e.Levels[0] + " → " + e.Levels[1]
	}
	return name + " = " + strings.Join(e.Levels, ", ")
}

// Count is a number of things.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
