package language

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/token"
)

// FormatValue formats a value for names of views and for tables: numbers as the shortest
// decimal that parses to the same number, strings without quotes where that is unambiguous.
func FormatValue(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case string:
		if plain.MatchString(v) {
			return v
		}
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}

var plain = regexp.MustCompile(`^[A-Za-z_][-+._A-Za-z0-9]*$`)

// line formats a value for an identity: strings are always quoted.
func line(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return FormatValue(v)
}

// smallest is the smallest positive normal 32-bit floating-point number.
const smallest = 0x1p-126

// scalar returns a concrete value of a kind. 1, 1.0 and 1e0 are the same float64.
func scalar(v cue.Value, k Kind) (any, error) {
	switch k {
	case Whole:
		i, err := v.Int64()
		if err != nil {
			return nil, fmt.Errorf("%s does not fit into 64 bits", text(v))
		}
		return i, nil
	case Real:
		f, err := v.Float64()
		if err != nil || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%s is too large or too small for a 64-bit number", text(v))
		}
		// Networks compute with 32 bits, where the number would be infinite, denormal or 0.
		if single := math.Abs(float64(float32(f))); math.IsInf(single, 0) || f != 0 && single < smallest {
			return nil, fmt.Errorf("%s is outside the range of 32-bit numbers; must be 0 or of a size from %.2g to %.2g", text(v), smallest, math.MaxFloat32)
		}
		return f + 0, nil // -0 is 0
	}
	return v.String()
}

// text returns a value as the user wrote it, on one line of at most 60 characters.
func text(v cue.Value) string {
	src, err := format.Node(v.Syntax(cue.Final()))
	s := strings.Join(strings.Fields(string(src)), " ")
	if err != nil || s == "" {
		s = fmt.Sprint(v)
	}
	if r := []rune(s); len(r) > 60 {
		s = string(r[:59]) + "…"
	}
	return s
}

// check returns a user's value of the axis, or a message of one line why it is not valid.
func (l *leaf) check(v cue.Value) (value any, msg, hint string) {
	if d, ok := v.Default(); ok {
		v = d
	}
	if !v.IsConcrete() {
		return nil, fmt.Sprintf("%s is not a concrete value; must be %s", text(v), l.allowed), ""
	}
	k := v.Kind()
	switch {
	case l.Kind == Name && k != cue.StringKind, l.Kind != Name && k&cue.NumberKind == 0:
		return nil, fmt.Sprintf("%s is a %v; must be %s", text(v), kindWord(k), l.allowed), ""
	case l.Kind == Whole && k == cue.FloatKind:
		return nil, fmt.Sprintf("%s is not a whole number; must be %s", text(v), l.allowed), "write it without a point or exponent"
	}
	if l.constraint.Unify(v).Validate(cue.Concrete(true)) != nil {
		if l.Enum != nil {
			s, _ := v.String()
			if n := Nearest(s, l.Enum); n != "" {
				hint = fmt.Sprintf("did you mean %q?", n)
			}
			return nil, fmt.Sprintf("%s is not %s", text(v), l.allowed), hint
		}
		return nil, fmt.Sprintf("%s is out of range; must be %s", text(v), l.allowed), ""
	}
	value, err := scalar(v, l.Kind)
	if err != nil {
		return nil, err.Error(), ""
	}
	if f, ok := value.(float64); ok && l.outside(f) {
		return nil, fmt.Sprintf("%s is too close to the end of its range for a 64-bit number; must be %s", text(v), l.allowed), ""
	}
	return value, "", ""
}

// outside reports whether rounding to 64 bits moved a number out of the axis's range, such as
// 0.99999999999999999999 to 1 where 1 is excluded.
func (l *leaf) outside(f float64) bool {
	return l.constraint.Unify(l.ctx.Encode(f)).Err() != nil
}

func kindWord(k cue.Kind) string {
	switch k {
	case cue.StructKind:
		return "struct"
	case cue.IntKind, cue.FloatKind, cue.NumberKind:
		return "number"
	}
	return k.String()
}

// place returns the position at which the user wrote v: the first one outside the schema.
func (r *reader) place(v cue.Value) where {
	if p := r.find(v, 0); p.IsValid() {
		return r.at(p)
	}
	return where{file: r.file}
}

// named returns the position of the name of the field whose value is v.
func (r *reader) named(v cue.Value) where {
	if f, ok := v.Source().(*ast.Field); ok && r.own(f.Label.Pos()) {
		return r.at(f.Label.Pos())
	}
	return r.place(v)
}

func (r *reader) find(v cue.Value, depth int) token.Pos {
	if f, ok := v.Source().(*ast.Field); ok && r.own(f.Value.Pos()) {
		return f.Value.Pos()
	}
	if p := v.Pos(); r.own(p) {
		return p
	}
	if s := v.Source(); s != nil && r.own(s.Pos()) {
		return s.Pos()
	}
	if depth > 8 {
		return token.NoPos
	}
	if op, args := v.Expr(); op == cue.AndOp {
		for _, a := range args {
			if p := r.find(a, depth+1); p.IsValid() {
				return p
			}
		}
	}
	return token.NoPos
}
