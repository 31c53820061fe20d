package backend

import (
	"errors"
	"reflect"
)

// Memory is what a compiled graph needs on the device, in bytes, as XLA plans it.
type Memory struct {
	Inputs, Outputs int64
	Aliased         int64 // of the outputs, in the memory of donated inputs
	Temporary       int64
}

// Total is the memory while the graph runs, with its inputs and outputs.
func (m Memory) Total() int64 { return m.Inputs + m.Outputs - m.Aliased + m.Temporary }

// Memory compiles the function for inputs of some shapes, if it has not been, and returns what it
// needs. It is an error on a backend other than XLA.
func (f *Fn) Memory(in ...graphShape) (m Memory, err error) {
	defer f.caught(&err)
	// go-xla has the numbers, in a field of a field that gomlx v0.26.0 does not export.
	// TestMemory fails when they no longer arrive.
	x := reflect.ValueOf(f.graph(in)).Elem().FieldByName("executable")
	for _, name := range []string{"exec", "OnDeviceMemoryUsageStats"} {
		for x.IsValid() && (x.Kind() == reflect.Interface || x.Kind() == reflect.Pointer) {
			x = x.Elem()
		}
		if x.Kind() != reflect.Struct {
			return m, errors.New("this backend does not say how much memory a graph needs")
		}
		x = x.FieldByName(name)
	}
	if x.Kind() != reflect.Struct {
		return m, errors.New("this backend does not say how much memory a graph needs")
	}
	of := func(name string) int64 { return x.FieldByName(name).Int() }
	return Memory{of("Inputs"), of("Outputs"), of("Aliases"), of("Temporary")}, nil
}
