package language

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// typed returns a value as one of the parameter's kind: whole numbers are real numbers, too. It
// returns nil for a value of another kind.
func (p *Param) typed(v any) any {
	switch v := v.(type) {
	case float64:
		if p.Kind == Real && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return v
		}
	case int64:
		switch p.Kind {
		case Real:
			return float64(v)
		case Whole:
			return v
		}
	case string:
		if p.Kind == Name {
			return v
		}
	case bool:
		if p.Kind == Truth {
			return v
		}
	}
	return nil
}

// check returns a user's value as one of the parameter, or a message why it is not valid.
func (p *Param) check(e entry, engine string) (value any, msg, hint string) {
	v, hint := e.value, "engine "+engine
	if _, ok := v.(string); !ok && e.flag && p.Kind == Name {
		v = e.text // a string in --set needs no quotes
	}
	value = p.typed(v)
	var x float64
	switch v := value.(type) {
	case nil:
		return nil, e.text + ": must be " + p.Allowed(), hint
	case string:
		if p.Enum == nil || slices.Contains(p.Enum, v) {
			return v, "", ""
		}
		if why := p.Absent[v]; why != "" {
			hint += ": " + why
		} else if n := Nearest(v, p.Enum); n != "" {
			hint += fmt.Sprintf("; did you mean %q?", n)
		}
		return nil, e.text + ": must be " + p.Allowed(), hint
	case bool:
		return v, "", ""
	case int64:
		x = float64(v)
	case float64:
		x = v
	}
	if !p.Within(x) {
		return nil, e.text + ": must be " + p.Allowed(), hint
	}
	return value, "", ""
}

// Within reports whether a number is within the bounds of a parameter.
func (p *Param) Within(x float64) bool {
	return (p.Minimum == nil || x >= *p.Minimum) && (p.Maximum == nil || x <= *p.Maximum) && (p.Above == nil || x > *p.Above)
}

// Allowed returns the values of a parameter in words.
func (p *Param) Allowed() string {
	var bounds []string
	bound := func(op string, x *float64) {
		if x != nil {
			bounds = append(bounds, op+" "+p.number(*x))
		}
	}
	bound(">", p.Above)
	bound(">=", p.Minimum)
	bound("<=", p.Maximum)
	switch p.Kind {
	case Real:
		return strings.TrimSpace("a number " + strings.Join(bounds, " and "))
	case Whole:
		return strings.TrimSpace("a whole number " + strings.Join(bounds, " and "))
	case Truth:
		return "true or false"
	}
	if p.Enum == nil {
		return "a string"
	}
	quoted := make([]string, len(p.Enum))
	for i, name := range p.Enum {
		quoted[i] = strconv.Quote(name)
	}
	return "one of " + strings.Join(quoted, ", ")
}

// number returns a bound as it is written: without an exponent where values are whole numbers.
func (p *Param) number(x float64) string {
	if p.Kind == Whole && x == math.Trunc(x) {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return FormatValue(x)
}

// Holds reports whether a condition holds for a value of its parameter, nil if that has none.
func (c *Condition) Holds(v any) bool {
	x, number := float(v)
	if c.Values == nil {
		return c.Above != nil && number && x > *c.Above
	}
	return slices.ContainsFunc(c.Values, func(w any) bool {
		y, ok := float(w)
		return v == w || number && ok && x == y
	})
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}
