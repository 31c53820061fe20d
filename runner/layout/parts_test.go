package layout

import "testing"

// TestParts: the parts of a list have whole tasks, are at most 16, and have each row once.
func TestParts(t *testing.T) {
	for _, c := range []struct{ n, shard, parts, first int }{
		{100, 256, 1, 0}, {256, 256, 1, 0}, {257, 256, 2, 256}, {4096, 256, 16, 256}, {4097, 256, 9, 512}, {20000, 256, 16, 1280}, {20000, 1, 16, 1250}, {1, 1, 1, 0},
	} {
		got := Called{Shard: c.shard}.parts(c.n)
		if len(got) != c.parts || got[0].Rows != c.first {
			t.Errorf("%d rows in tasks of %d: %d parts, the first of %d rows; want %d of %d", c.n, c.shard, len(got), got[0].Rows, c.parts, c.first)
		}
		at := 0
		for _, p := range got {
			if p.From != at || p.Rows%c.shard != 0 && p.From+p.Rows != c.n {
				t.Errorf("%d rows in tasks of %d: part %+v after row %d", c.n, c.shard, p, at)
			}
			at += p.Rows
		}
		if len(got) > 1 && at != c.n {
			t.Errorf("%d rows in tasks of %d: parts have %d", c.n, c.shard, at)
		}
	}
	if got := (Called{Shard: 5, Together: true}).parts(100); len(got) != 1 {
		t.Errorf("rows that belong together are in %d parts", len(got))
	}
}
