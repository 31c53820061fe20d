package pipeline

import (
	"reflect"
	"testing"

	"ablate/models/dit"
)

// TestName: networks that differ in any field have different names, because compiled graphs
// are found by the name.
func TestName(t *testing.T) {
	base := dit.Default(12)
	fields := reflect.TypeOf(base)
	for i := range fields.NumField() {
		c := base
		x := reflect.ValueOf(&c).Elem().Field(i)
		x.SetInt(2 * x.Int())
		if Shapes(c).Name == Shapes(base).Name {
			t.Errorf("%s of %d and of %d have the name %q", fields.Field(i).Name, x.Int()/2, x.Int(), Shapes(c).Name)
		}
	}
}
