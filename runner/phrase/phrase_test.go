package phrase

import "testing"

func TestPhrases(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(0, "row"), "0 rows"}, {Count(1, "row"), "1 row"}, {Are(1, "row"), "1 row is"}, {Are(2, "row"), "2 rows are"},
		{Seconds(0), "0 s"}, {Seconds(59.4), "59 s"}, {Seconds(90), "1.5 min"}, {Seconds(1800), "30 min"}, {Seconds(5400), "1.5 h"},
		{Seconds(3 * 365 * 24 * 3600), "3 years"}, {Seconds(1e12), "3.17e+04 years"},
		{Bytes(0), "0 B"}, {Bytes(999), "999 B"}, {Bytes(1500), "1.5 kB"}, {Bytes(2_500_000), "2.5 MB"}, {Bytes(3e9), "3.0 GB"},
		{Shell("experiments/gate"), "experiments/gate"}, {Shell(""), "''"}, {Shell("all data"), "'all data'"}, {Shell("it's"), `'it'\''s'`},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
