package nn

import (
	"math"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
)

// Linear is x·Wᵀ + b for x float32[..., in]; the result is float32[..., out].
// The leading axes are not flattened: which of XLA's kernels on the CPU is fast for
// the weight's gradient depends on its shape (models/backend/grad.go).
func (w Weights) Linear(name string, x *graph.Node) *graph.Node {
	return graph.Add(w.Product(name, x), graph.ExpandLeftToRank(w.as(name+".bias", x), x.Rank()))
}

// Product is Linear without b. Where there is a low-rank update of the weight, it is
// x·Wᵀ + (x·Aᵀ)·Bᵀ, whose gradient by A and B does not need that by W.
func (w Weights) Product(name string, x *graph.Node) *graph.Node {
	dot := func(x *graph.Node, weight string) *graph.Node {
		return graph.DotGeneral(x, []int{x.Rank() - 1}, nil, w.as(weight, x), []int{1}, nil)
	}
	y := w.rows(func(in []*graph.Node) *graph.Node { return dot(in[0], name+".weight") }, x)
	if w[name+LowRankA] != nil {
		y = graph.Add(y, w.updated(x, func(x *graph.Node) *graph.Node { return dot(dot(x, name+LowRankA), name+LowRankB) }))
	}
	return y
}

// LowRankA and LowRankB end the names of the two factors of an update: A float32[rank, in] and
// B float32[out, rank], which has its scale already. For a convolution A is its kernel,
// float32[size, size, in, rank].
const LowRankA, LowRankB = ".lora_A", ".lora_B"

// Conv is a convolution of x float32[B, height, width, C] with zeros around it: (size-1)/2 on
// each side, as PyTorch's padding of that number, whatever the stride.
func (w Weights) Conv(name string, x *graph.Node, stride int) *graph.Node {
	y := w.rows(func(in []*graph.Node) *graph.Node { return convolve(in[0], w.as(name+".weight", x), stride) }, x)
	if w[name+LowRankA] != nil {
		a := w.as(name+LowRankA, x)
		if a.Rank() == 2 {
			a = graph.Reshape(graph.Transpose(a, 0, 1), 1, 1, a.Shape().Dimensions[1], a.Shape().Dimensions[0])
		}
		y = graph.Add(y, w.updated(x, func(x *graph.Node) *graph.Node {
			return graph.DotGeneral(convolve(x, a, stride), []int{3}, nil, w.as(name+LowRankB, x), []int{1}, nil)
		}))
	}
	return w.shifted(name, y)
}

func convolve(x, kernel *graph.Node, stride int) *graph.Node {
	if dims := kernel.Shape().Dimensions; dims[0] == 1 && dims[1] == 1 && stride == 1 {
		// XLA's gradient of a product is several times as fast as that of such a kernel.
		return graph.DotGeneral(x, []int{3}, nil, graph.Reshape(kernel, dims[2:]...), []int{0}, nil)
	}
	return graph.Convolve(x, kernel).Strides(stride).PadSame().Done()
}

// ConvPadded is a convolution of x float32[B, height, width, C] with the given numbers of zeros
// before and after it along both axes.
func (w Weights) ConvPadded(name string, x *graph.Node, stride int, zeros [2]int) *graph.Node {
	return w.shifted(name, graph.Convolve(x, w.as(name+".weight", x)).Strides(stride).PaddingPerDim([][2]int{zeros, zeros}).Done())
}

// shifted adds the bias of a layer to x float32[B, height, width, C].
func (w Weights) shifted(name string, x *graph.Node) *graph.Node {
	return graph.Add(x, graph.Reshape(w.as(name+".bias", x), 1, 1, 1, x.Shape().Dimensions[3]))
}

// Normalize is layer normalization over the last axis without scale or shift
// (Ba et al. 2016, eq. 4), epsilon 1e-6 as in DiT.
func Normalize(x *graph.Node) *graph.Node { return normalized(x, 1e-6) }

// SiLU is x·sigmoid(x).
func SiLU(x *graph.Node) *graph.Node { return graph.Mul(x, graph.Logistic(x)) }

// Softplus is log(1 + eᶻ) = -log σ(-z), computed without overflow as z/2 + |z|/2 +
// log(1 + e^-|z|). Its derivative at 0 is ½ for any choice of the derivative of |z| there.
func Softplus(z *graph.Node) *graph.Node {
	a := graph.Abs(z)
	return graph.Add(graph.MulScalar(graph.Add(z, a), .5), graph.Log1P(graph.Exp(graph.Neg(a))))
}

// GELU is the Gaussian error linear unit in its tanh form (Hendrycks & Gimpel
// 2016, section 2).
func GELU(x *graph.Node) *graph.Node {
	cube := graph.Mul(x, graph.Square(x))
	inner := graph.MulScalar(graph.Add(x, graph.MulScalar(cube, 0.044715)), math.Sqrt(2/math.Pi))
	return graph.Mul(graph.MulScalar(x, 0.5), graph.OnePlus(graph.Tanh(inner)))
}

// SelfAttention is softmax(q·kᵀ/√K)·v, float32[B, T, H·K] (Vaswani et al. 2017, eq. 1),
// for qkv float32[B, T, 3·H·K]: first q of all heads, then k, then v.
func SelfAttention(qkv *graph.Node, heads int) *graph.Node {
	dims := qkv.Shape().Dimensions
	b, t, d := dims[0], dims[1], dims[2]/3
	if t <= fewTokens {
		return attendFew(qkv, heads)
	}
	x := Split(qkv, 2, d, d, d)
	for i := range x {
		x[i] = graph.Reshape(x[i], b, t, heads, d/heads)
	}
	y := graph.Einsum("bhqt,bthk->bqhk", attended(x[0], x[1]), x[2]) // [B, T, H, K]
	return graph.Reshape(y, b, t, d)
}

// attended is softmax(q·kᵀ/√K) float32[B, H, T, T] for q, k float32[B, T, H, K].
func attended(q, k *graph.Node) *graph.Node {
	scores := graph.Einsum("bqhk,bthk->bhqt", q, k)
	scores = graph.MulScalar(graph.ConvertDType(scores, dtypes.Float32), 1/math.Sqrt(float64(q.Shape().Dimensions[3])))
	return graph.ConvertDType(graph.Softmax(scores, -1), q.DType())
}

// fewTokens is the largest number of tokens for which attention is computed by sums of
// products. With so few rows the overhead of XLA's matrix product on the CPU exceeds its
// arithmetic.
const fewTokens = 8

// attendFew is SelfAttention over few tokens. It defines its gradient, because automatic
// differentiation would use the matrix products that the sums avoid.
func attendFew(qkv *graph.Node, heads int) *graph.Node {
	dims := qkv.Shape().Dimensions
	b, t, d := dims[0], dims[1], dims[2]/3
	var gradient *graph.Node // set before it is needed: the last node is differentiated first
	qkv = graph.IdentityWithCustomGradient(qkv, func(_, _ *graph.Node) *graph.Node { return gradient })
	// part is q, k or v, float32[B, T, H, K].
	part := func(i int) *graph.Node {
		return graph.Reshape(graph.Slice(qkv, graph.AxisRange(), graph.AxisRange(), graph.AxisRange(i*d, (i+1)*d)), b, t, heads, d/heads)
	}
	q, k, v := part(0), part(1), part(2)
	p := attended(q, k)
	return graph.IdentityWithCustomGradient(graph.Concatenate(mix(p, v), -1), func(_, dy *graph.Node) *graph.Node {
		dy = graph.Reshape(dy, b, t, heads, d/heads)
		dp := graph.Einsum("bqhk,bthk->bhqt", dy, v)
		ds := graph.Mul(p, graph.Sub(dp, graph.ReduceAndKeep(graph.Mul(dp, p), graph.ReduceSum, -1)))
		ds = graph.MulScalar(ds, 1/math.Sqrt(float64(d/heads)))
		back := graph.TransposeAllAxes(ds, 0, 1, 3, 2)
		gradient = graph.Concatenate(slices.Concat(mix(ds, k), mix(back, q), mix(graph.TransposeAllAxes(p, 0, 1, 3, 2), dy)), -1)
		return graph.Reshape(dy, b, t, d)
	})
}

// mix is Σⱼ w[b, h, i, j]·x[b, j, h, k] as a sum over j, float32[B, T, K] for each head.
// Heads are separate arrays, because XLA does not vectorize a loop over all heads.
func mix(w, x *graph.Node) []*graph.Node {
	dims := x.Shape().Dimensions
	heads := make([]*graph.Node, dims[2])
	for h := range heads {
		for j := range dims[1] {
			wj := graph.Slice(w, graph.AxisRange(), graph.AxisElem(h), graph.AxisRange(), graph.AxisElem(j))                  // [B, 1, T, 1]
			wj = graph.Reshape(wj, dims[0], dims[1], 1)                                                                       // [B, T, 1]
			xj := graph.Reshape(graph.Slice(x, graph.AxisRange(), graph.AxisElem(j), graph.AxisElem(h)), dims[0], 1, dims[3]) // [B, 1, K]
			if part := graph.Mul(wj, xj); j == 0 {
				heads[h] = part
			} else {
				heads[h] = graph.Add(heads[h], part)
			}
		}
	}
	return heads
}

// Split cuts x along an axis into parts of the given sizes. Its gradient is one
// concatenation; the gradient of slices is a sum of as many padded arrays.
func Split(x *graph.Node, axis int, sizes ...int) []*graph.Node {
	parts, grads := make([]*graph.Node, len(sizes)), make([]*graph.Node, len(sizes))
	// Gradients are computed from the last node back to the first, so all parts have theirs
	// before whole. The gradient that whole is given, the sum of padded arrays, is not used
	// and therefore not computed.
	whole := graph.IdentityWithCustomGradient(x, func(_, _ *graph.Node) *graph.Node {
		for i, g := range grads {
			if g == nil {
				grads[i] = graph.ZerosLike(parts[i])
			}
		}
		v := graph.Concatenate(grads, axis)
		clear(grads)
		return v
	})
	spec, at := make([]graph.SliceAxisSpec, axis+1), 0
	for i := range spec {
		spec[i] = graph.AxisRange()
	}
	for i, n := range sizes {
		spec[axis] = graph.AxisRange(at, at+n)
		at += n
		parts[i] = graph.IdentityWithCustomGradient(graph.Slice(whole, spec...), func(_, v *graph.Node) *graph.Node {
			grads[i] = v
			return v
		})
	}
	return parts
}

// Fourier returns cos and sin of t·exp(-log(period)·i/n), i < n, the sinusoidal embedding of
// a time t float32[B] as float32[B, 2n] (Vaswani et al. 2017, section 3.5).
func Fourier(t *graph.Node, n int, period float64) *graph.Node {
	freq := make([]float32, n)
	for i := range freq {
		freq[i] = float32(math.Exp(-math.Log(period) * float64(i) / float64(n)))
	}
	angle := graph.Mul(graph.InsertAxes(t, -1), graph.Reshape(graph.Const(t.Graph(), freq), 1, n)) // [B, n]
	return graph.Concatenate([]*graph.Node{graph.Cos(angle), graph.Sin(angle)}, -1)
}
