package backend

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/gomlx/go-xla/pkg/stablehlo"
)

// Work is what a graph computes, as far as it is known before it is compiled.
type Work struct {
	Flops  float64 // of matrix products, convolutions and cuDNN's attention; a multiplication and an addition are two
	Values int64   // bytes of all values that are computed, if all were kept
}

// Work returns what the function computes for inputs of some shapes. What is computed twice to
// save memory counts twice. It builds the graph and compiles nothing. It is an error on a backend
// other than XLA.
func (f *Fn) Work(in ...graphShape) (w Work, err error) {
	defer f.caught(&err)
	_, out := f.built(in)
	fn := function(out[0])
	if fn == nil {
		return w, errors.New("this backend does not say how much it computes")
	}
	for _, s := range fn.Statements {
		n, err := flopsOf(s)
		if err != nil {
			return w, err
		}
		w.Flops += n
		for _, v := range s.Outputs {
			w.Values += int64(v.Shape().Memory())
		}
	}
	return w, nil
}

// The axes of a matrix product over which it sums, and the letters of a convolution's axes, as go-xla
// prints them.
var (
	contracting = regexp.MustCompile(`lhs_contracting_dimensions = \[([0-9, ]*)\]`)
	convolution = regexp.MustCompile(`x\[([^\]]*)\]->`)
	integers    = regexp.MustCompile(`[0-9]+`)
	elements    = regexp.MustCompile(`[:,] ([0-9]+)`)
)

// flopsOf returns the operations of a statement.
func flopsOf(s *stablehlo.Statement) (float64, error) {
	op := fmt.Sprint(s.OpType)
	if op == "CustomCall" {
		q := s.Inputs[0].Shape()
		products := map[any]float64{FlashAttention: 2, FlashGradient: 5}[s.Attributes["call_target_name"]]
		return products * 2 * float64(q.Size()) * float64(q.Dimensions[1]), nil
	}
	if op != "DotGeneral" && op != "Convolution" {
		return 0, nil
	}
	left, right, out := s.Inputs[0].Shape(), s.Inputs[1].Shape(), s.Outputs[0].Shape()
	if op == "DotGeneral" {
		axes := contracting.FindStringSubmatch(fmt.Sprint(s.Attributes["dot_dimension_numbers"]))
		if axes == nil {
			return 0, fmt.Errorf("go-xla says the axes of a matrix product in another way: %v", s.Attributes)
		}
		sum := 1.
		for _, axis := range integers.FindAllString(axes[1], -1) {
			i, err := strconv.Atoi(axis)
			if err != nil {
				return 0, err
			}
			sum *= float64(left.Dimensions[i])
		}
		return 2 * float64(out.Size()) * sum, nil
	}
	kernel := convolution.FindStringSubmatch(fmt.Sprint(s.Attributes["dimension_numbers"]))
	if kernel == nil {
		return 0, fmt.Errorf("go-xla says the axes of a convolution in another way: %v", s.Attributes)
	}
	flops := 2 * float64(out.Size())
	for i, letter := range strings.Split(kernel[1], ",") {
		if strings.TrimSpace(letter) != "o" {
			flops *= float64(right.Dimensions[i])
		}
	}
	// The gradient of a convolution with strides has zeros between its inputs.
	for _, n := range elements.FindAllStringSubmatch(fmt.Sprint(s.Attributes["lhs_dilation"]), -1) {
		i, err := strconv.Atoi(n[1])
		if err != nil {
			return 0, err
		}
		flops /= float64(i)
	}
	return flops, nil
}
