package language

import (
	"os"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
)

// TestLaterParameter checks that a parameter that a later version adds changes no id of a trial
// as long as it has its absent value, and changes the id otherwise.
func TestLaterParameter(t *testing.T) {
	content := func(values ...any) Content {
		c := Content{pool: newPool(nil)}
		for _, v := range values {
			c.refs = append(c.refs, c.pool.put(v))
		}
		return c
	}
	id := func(c Content, paths []string, absent []any) ID {
		return Trial{Seed: Seed{1, 1}}.name(c.identity(paths, absent))
	}
	before := id(content(.5, int64(400)), []string{"finetune.beta", "finetune.steps"}, []any{nil, nil})
	for _, tc := range []struct {
		batch any
		same  bool
	}{{int64(256), true}, {int64(128), false}, {int64(0), false}, {nil, true}} {
		after := id(content(.5, tc.batch, int64(400)), []string{"finetune.beta", "finetune.sampling", "finetune.steps"}, []any{nil, int64(256), nil})
		if (after == before) != tc.same {
			t.Errorf("with %v: the id is the same: %v", tc.batch, after == before)
		}
	}
}

// TestAbsent checks that the attribute is parsed as a value of the parameter's kind.
func TestAbsent(t *testing.T) {
	ctx := cuecontext.New()
	for src, want := range map[string]any{
		`x: int & >=1 @unit("images") @absent(256)`:  int64(256),
		`x: number @unit("weight") @absent(0.5)`:     .5,
		`x: "a" | "b" @unit("name") @absent("a")`:    "a",
		`x: int & >=1 @unit("images")`:               nil,
		`x: int & >=1 @unit("images") @absent(1.5)`:  "@absent(1.5)",
		`x: number @unit("weight") @absent("small")`: "@absent(small)",
	} {
		v := ctx.CompileString(src)
		l, err := newLeaf("x", v.LookupPath(cue.ParsePath("x")), v)
		if s, mistake := want.(string); mistake && strings.HasPrefix(s, "@") {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v", src, err)
			}
			continue
		}
		if err != nil || l.Absent != want {
			t.Errorf("%s: %v, %v", src, l, err)
		}
	}
}

// TestNewParametersNameTheirAbsence checks that every parameter that was added after the first
// version declares its absent value.
func TestNewParametersNameTheirAbsence(t *testing.T) {
	b, err := os.ReadFile("testdata/first.txt")
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Fields(string(b))
	for _, a := range Axes() {
		if a.Absent == nil && !slices.Contains(first, a.Path) {
			t.Errorf("%s is new and has no @absent(VALUE): every trial would get another id, and its results be lost", a.Path)
		}
	}
}
