package store

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestKeyText(t *testing.T) {
	k := Key{Stage: "score", Revision: 3, Backend: "xla:cpu",
		Lines:  []string{"reward.temperature 2", "reward.loss mse"},
		Inputs: []Input{{"samples", OutputID{2}}, {"reward", OutputID{1}}}}
	want := `ablate action 2
stage score
revision 3
backend xla:cpu
set reward.loss mse
set reward.temperature 2
input 0100000000000000000000000000000000000000000000000000000000000000 reward
input 0200000000000000000000000000000000000000000000000000000000000000 samples
`
	if d := cmp.Diff(want, k.Text()); d != "" {
		t.Errorf("text mismatch (-want +got):\n%s", d)
	}
	if k.ID() != sha256.Sum256([]byte(want)) {
		t.Error("the id is not the sum of the text")
	}
	if k.Lines[0] != "reward.temperature 2" || k.Inputs[0].Name != "samples" {
		t.Error("the caller's slices were sorted")
	}
}

// drawKey draws keys from a small alphabet of characters that could be confused.
func drawKey(t *rapid.T, label string) Key {
	word := rapid.StringOfN(rapid.RuneFrom([]rune("a \n\"\\\t�é")), 0, 4, -1)
	// The alphabet includes invalid UTF-8, which Go strings may contain.
	raw := rapid.Custom(func(t *rapid.T) string {
		return word.Draw(t, "word") + rapid.SampledFrom([]string{"", "", "", "\xff", "\xfe"}).Draw(t, "byte")
	})
	return Key{
		Stage: raw.Draw(t, label+" stage"), Revision: rapid.IntRange(0, 2).Draw(t, label+" revision"),
		Lines: rapid.SliceOfN(raw, 0, 3).Draw(t, label+" lines"), Backend: raw.Draw(t, label+" backend"),
		Inputs: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Input {
			return Input{raw.Draw(t, "name"), OutputID{rapid.ByteRange(0, 1).Draw(t, "output")}}
		}), 0, 2).Draw(t, label+" inputs"),
	}
}

// canonical is a key with its unordered parts sorted, by other means than Text's.
func canonical(k Key) string {
	var lines, inputs []string
	for _, l := range k.Lines {
		lines = append(lines, hexOf(l))
	}
	for _, i := range k.Inputs {
		inputs = append(inputs, hexOf(i.Name)+i.Output.String())
	}
	slices.Sort(lines)
	slices.Sort(inputs)
	return strings.Join([]string{hexOf(k.Stage), string(rune('0' + k.Revision)), hexOf(k.Backend),
		strings.Join(lines, ","), strings.Join(inputs, ",")}, ";")
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
	return b.String()
}

// TestKeyIdentity: two keys have the same text if and only if they are equal up to order.
func TestKeyIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawKey(t, "a")
		b := a
		if rapid.Bool().Draw(t, "other") {
			b = drawKey(t, "b")
		} else { // alike but for order
			b.Lines = rapid.Permutation(a.Lines).Draw(t, "lines")
			b.Inputs = rapid.Permutation(a.Inputs).Draw(t, "inputs")
		}
		same := canonical(a) == canonical(b)
		if (a.Text() == b.Text()) != same || (a.ID() == b.ID()) != same {
			t.Fatalf("same %v, texts\n%s\n%s", same, a.Text(), b.Text())
		}
		if back, err := ParseKey(a.Text()); err != nil || canonical(back) != canonical(a) {
			t.Fatalf("read as %+v, %v:\n%s", back, err, a.Text())
		}
		if !utf8.ValidString(a.Text()) {
			t.Fatalf("not UTF-8: %q", a.Text())
		}
		if strings.Count(a.Text(), "\n") != 4+len(a.Lines)+len(a.Inputs) {
			t.Fatalf("not one line a part:\n%s", a.Text())
		}
	})
}

func TestParseID(t *testing.T) {
	id := ActionID{0xab, 0xcd}
	if got, err := ParseActionID(id.String()); err != nil || got != id || id.Short() != "abcd00000000" {
		t.Errorf("got %v, %v, %s", got, err, id.Short())
	}
	for _, bad := range []string{"", "ab", strings.ToUpper(id.String()), id.String() + "00", "x" + id.String()[1:]} {
		if _, err := ParseOutputID(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// TestKeyQuoting: a quoted part is not confused with a part that looks like it.
func TestKeyQuoting(t *testing.T) {
	seen := map[string]string{}
	for _, word := range []string{"", `""`, "a\nb", `"a\nb"`, `"\"a\\nb\""`, "\xff", "\xfe", "\ufffd", `"\xff"`, "a b", "\ta b"} {
		text := Key{Stage: word}.Text()
		if other, twice := seen[text]; twice {
			t.Errorf("%q and %q are both %q", word, other, text)
		}
		seen[text] = word
	}
}

// TestParseKeyRefuses: a text that Text does not write is not a key.
func TestParseKeyRefuses(t *testing.T) {
	good := Key{Stage: "score", Revision: 3, Lines: []string{"a 1", "b 2"}, Inputs: []Input{{"samples", OutputID{2}}}}.Text()
	if _, err := ParseKey(good); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"another format": strings.Replace(good, keyFormat, "ablate action 1", 1), "empty": "", "no last newline": strings.TrimSuffix(good, "\n"),
		"out of order": strings.Replace(good, "set a 1\nset b 2\n", "set b 2\nset a 1\n", 1), "number": strings.Replace(good, "revision 3", "revision 03", 1),
		"needless quotes": strings.Replace(good, "stage score", `stage "score"`, 1), "open quote": strings.Replace(good, "stage score", `stage "score`, 1),
		"twice": good + "stage score\n", "unknown word": good + "more 1\n", "no value": good + "set\n", "id": strings.Replace(good, "input 02", "input 0", 1),
		"no backend": strings.Replace(good, "backend \n", "", 1), "upper case": strings.ToUpper(good),
	} {
		if k, err := ParseKey(bad); err == nil {
			t.Errorf("%s: read as %+v", name, k)
		}
	}
}
