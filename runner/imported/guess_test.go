package imported

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ablate/analysis/table"
)

func TestGuessRange(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Range
	}{
		{nil, Any}, {[]float64{.5}, Any}, {[]float64{1, 1}, Any}, {[]float64{0, 1}, Share}, {[]float64{.2, .3}, Share},
		{[]float64{.2, 1.1}, Any}, {[]float64{.2, 2.1}, Positive}, {[]float64{1, 10}, Any}, {[]float64{1, 10.5}, Positive},
		{[]float64{0, 100}, Any}, {[]float64{-1, 1}, Any},
	} {
		if got := guessRange("acc", c.values); got != c.want {
			t.Errorf("%v: %s, want %s", c.values, got, c.want)
		}
	}
}

// TestGuessUnbounded: a distance or a loss is no share, though its values look like one.
func TestGuessUnbounded(t *testing.T) {
	for name, want := range map[string]Range{"kid": Any, "train/loss": Any, "ImageReward": Any, "val_mse": Any, "clip_score": Share, "LPIPS": Share, "error rate": Share, "fidelity": Share} {
		if got := guessRange(name, []float64{.002, .01}); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestGuessBetter(t *testing.T) {
	for name, want := range map[string]string{
		"fid": "lower", "eval/FID50k": "lower", "fid_score": "lower", "fidelity": "", "fidelity.recall": "higher", "train/loss": "lower",
		"reward_loss": "lower", "LPIPS": "lower", "kid": "lower", "skidded": "", "kl_div": "lower", "fréchet": "lower", "clip": "higher",
		"CLIPScore": "higher", "ImageReward": "higher", "winRate": "higher", "win rate": "higher", "win_rate": "higher", "aligned": "higher",
		"precision": "higher", "mean_squared_error": "lower", "rmse": "lower", "acc@1": "higher", "steps": "", "": "",
	} {
		if got := guessBetter(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestGuessed: properties that are given are not guessed.
func TestGuessed(t *testing.T) {
	for _, c := range []struct {
		given Description
		want  Metric
	}{
		{Description{}, Metric{Name: "fid", Description: Description{Range: Any, Better: "lower"}, GuessedRange: true, GuessedBetter: true}},
		{Description{Range: Any, Better: "higher", Unit: "x"}, Metric{Name: "fid", Description: Description{Range: Any, Better: "higher", Unit: "x"}}},
	} {
		if d := cmp.Diff(c.want, guess("fid", c.given, []float64{.1, .2})); d != "" {
			t.Error(d)
		}
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"1e-4": "0.0001", "0.00010": "0.0001", "1.0": "1", "-0": "0", "-0.0": "0", "1e3": "1000", "007": "007", "True": "true", "1_000": "1_000", "": "", " x ": "x",
		"9007199254740993": "9007199254740993", "1e400": "1e400", "NaN": "NaN", "0x10": "0x10", "1e-400": "0", ".": ".", "-": "-",
	} {
		if got := canonical(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if again := canonical(canonical(in)); again != canonical(in) {
			t.Errorf("%q: %q is not canonical", in, again)
		}
	}
}

func TestAxisKind(t *testing.T) {
	for _, c := range []struct {
		texts []string
		want  table.Kind
	}{
		{[]string{"1", "2"}, table.Int}, {[]string{"1", "0.5"}, table.Float}, {[]string{"1", "x"}, table.String}, {[]string{"true"}, table.String},
		{[]string{"1e400"}, table.String}, {[]string{"NaN", "1"}, table.String}, {[]string{"-", "."}, table.String},
	} {
		if got := axisKind(c.texts); got != c.want {
			t.Errorf("%v: %v, want %v", c.texts, got, c.want)
		}
	}
}

// TestSum: the sum is the one of exact arithmetic, rounded once, in any order.
func TestSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOf(rapid.Custom(func(t *rapid.T) float64 {
			return math.Ldexp(float64(rapid.Int64Range(-1<<53, 1<<53).Draw(t, "mantissa")), rapid.IntRange(-120, 120).Draw(t, "exponent"))
		})).Draw(t, "xs")
		exact := new(big.Float).SetPrec(2000)
		for _, x := range xs {
			exact.Add(exact, new(big.Float).SetFloat64(x))
		}
		want, _ := exact.Float64()
		var a, b sum
		for _, x := range xs {
			a.add(x, 1)
		}
		rand.Shuffle(len(xs), func(i, j int) { xs[i], xs[j] = xs[j], xs[i] })
		half := len(xs) / 2
		var c sum
		for i, x := range xs {
			if i < half {
				b.add(x, 1)
			} else {
				c.add(x, 1)
			}
		}
		b.merge(c)
		if a.value() != want || b.value() != want || a.n != int64(len(xs)) || b.n != a.n {
			t.Fatalf("%v: %v and %v, want %v", xs, a.value(), b.value(), want)
		}
	})
}
