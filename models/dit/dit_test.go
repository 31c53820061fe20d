package dit

import "testing"

// The count follows from the configuration by hand: 2.05 million, of which
// .59 million a block.
func TestParameterCount(t *testing.T) {
	c := Default(12)
	n := 0
	for _, p := range append(c.Params(), c.TextParams()...) {
		n += p.Size()
	}
	linear := func(in, out int) int { return in*out + out }
	block := linear(192, 6*192) + linear(192, 3*192) + linear(192, 192) + linear(192, 576) + linear(576, 192)
	want := linear(192, 192) + 4*192 + linear(64, 192) + linear(192, 192) + linear(192, 192) + 3*block + linear(192, 384) + linear(192, 192)
	want += linear(12, 192) + linear(192, 192)
	if n != want {
		t.Errorf("%d parameters, want %d", n, want)
	}
}

func TestCheck(t *testing.T) {
	if err := Default(12).Check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Heads = 5 }, func(c *Config) { c.PatchSize = 5 }, func(c *Config) { c.Layers = 0 }, func(c *Config) { c.Width = -1 },
	} {
		c := Default(12)
		change(&c)
		if c.Check() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
