package backend

import (
	"errors"
	"strings"

	"github.com/gomlx/go-xla/pkg/stablehlo"
)

// Program returns the text of the function in StableHLO for inputs of some shapes. It compiles nothing, so that
// other compilers of XLA can: that of a GPU which this machine does not have. It is an error on a backend
// other than XLA.
func (f *Fn) Program(in ...graphShape) (text string, err error) {
	defer f.caught(&err)
	_, out := f.built(in)
	values := make([]*stablehlo.Value, len(out))
	for i, x := range out {
		if values[i] = value(x); values[i] == nil {
			return "", errors.New("this backend has no program in StableHLO")
		}
	}
	fn := function(out[0])
	if err := fn.Return(values...); err != nil {
		return "", err
	}
	var b strings.Builder
	err = fn.Builder.Write(&b)
	return b.String(), err
}
