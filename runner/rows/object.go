package rows

import "fmt"

// objects makes rows of JSON objects that have the same keys, or some of them.
type objects struct {
	names  []string
	number map[string]int
	cells  []string
	set    []int // by column, the row that last set its cell
	row    int
	w      Walker
}

// learn adds the keys of an object to the columns.
func (o *objects) learn(b []byte) {
	o.w.Emit = func(key []byte, _ string) {
		if _, ok := o.number[string(key)]; !ok {
			if o.number == nil {
				o.number = map[string]int{}
			}
			o.number[string(key)] = len(o.names)
			o.names = append(o.names, string(key))
		}
	}
	o.w.Object(b)
}

// read returns the cells of an object.
func (o *objects) read(b []byte) ([]string, error) {
	if o.cells == nil {
		o.cells, o.set = make([]string, len(o.names)), make([]int, len(o.names))
	}
	o.row++
	clear(o.cells)
	var again error
	o.w.Emit = func(key []byte, value string) {
		i, ok := o.number[string(key)]
		if !ok { // the file has changed since its keys were learnt
			return
		}
		if o.set[i] == o.row {
			again = &Wrong{fmt.Sprintf("the key %q occurs twice", key), "each key once", "remove one"}
		}
		o.cells[i], o.set[i] = value, o.row
	}
	o.w.Object(b)
	return o.cells, again
}

// Header implements Reader.
func (o *objects) Header() []string { return o.names }
