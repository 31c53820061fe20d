package random

import "math"

// A Torch is PyTorch's generator on the CPU: the Mersenne Twister of Matsumoto & Nishimura 1998
// (mt19937), and the normal numbers of torch.randn in float32. With it, a picture begins from the
// noise that the diffusers engine gives it. PyTorch promises no stable numbers; these are those of
// 2.15, and of all versions since 1.0.
type Torch struct {
	state [624]uint32
	next  int
	spare *float64 // of a pair of normal numbers in float64
}

// NewTorch returns the generator of torch.Generator("cpu").manual_seed(seed), which reads the low
// 32 bits of the seed.
func NewTorch(seed int64) *Torch {
	t := &Torch{next: 624}
	t.state[0] = uint32(seed)
	for i := 1; i < len(t.state); i++ {
		t.state[i] = 1812433253*(t.state[i-1]^t.state[i-1]>>30) + uint32(i)
	}
	return t
}

func (t *Torch) uint32() uint32 {
	const n, m = 624, 397
	if t.next == n {
		for i := range n {
			y := t.state[i]&0x80000000 | t.state[(i+1)%n]&0x7fffffff
			t.state[i] = t.state[(i+m)%n] ^ y>>1 ^ y&1*0x9908b0df
		}
		t.next = 0
	}
	y := t.state[t.next]
	t.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// uniform is a number in [0, 1) of 24 bits.
func (t *Torch) uniform() float32 { return float32(t.uint32()&(1<<24-1)) / (1 << 24) }

// Uniform fills x as torch.rand does.
func (t *Torch) Uniform(x []float32) {
	for i := range x {
		x[i] = t.uniform()
	}
}

// Permutation returns what torch.randperm does.
func (t *Torch) Permutation(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := range n - 1 {
		j := i + int(t.uint32())%(n-i)
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// Normal fills x as torch.randn does. Of 16 numbers and more, uniform ones become normal ones in
// groups of 16 (Box & Muller 1958), where the first half of a group are radii and the second
// angles; if the length is no multiple of 16, the last 16 are drawn again. PyTorch computes with
// vectors of approximations, so the last bits may differ. Fewer numbers are drawn in pairs, in
// float64, and one that is left over is the first of the next time.
func (t *Torch) Normal(x []float32) {
	if len(x) < 16 {
		for i := range x {
			x[i] = float32(t.normal())
		}
		return
	}
	for i := range x {
		x[i] = t.uniform()
	}
	at := 0
	for ; at+16 <= len(x); at += 16 {
		boxMuller(x[at : at+16])
	}
	if at < len(x) {
		last := x[len(x)-16:]
		for i := range last {
			last[i] = t.uniform()
		}
		boxMuller(last)
	}
}

func (t *Torch) normal() float64 {
	if t.spare != nil {
		x := *t.spare
		t.spare = nil
		return x
	}
	uniform := func() float64 {
		high := uint64(t.uint32())
		return float64((high<<32|uint64(t.uint32()))&(1<<53-1)) / (1 << 53)
	}
	angle, u := 2*math.Pi*uniform(), uniform()
	radius := math.Sqrt(-2 * math.Log1p(-u))
	spare := radius * math.Sin(angle)
	t.spare = &spare
	return radius * math.Cos(angle)
}

func boxMuller(x []float32) {
	for i := range 8 {
		radius := math.Sqrt(-2 * math.Log(float64(1-x[i])))
		sin, cos := math.Sincos(2 * math.Pi * float64(x[i+8]))
		x[i], x[i+8] = float32(radius*cos), float32(radius*sin)
	}
}
