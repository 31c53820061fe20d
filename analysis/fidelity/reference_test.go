package fidelity_test

import (
	"encoding/json"
	"regexp"
	"strconv"
	"testing"

	"ablate/analysis/fidelity"
	"ablate/models/reference"
)

// TestReferenceMetrics compares with every value of every metrics case of the reference set: to
// 1e-6 relative, and counts exactly.
func TestReferenceMetrics(t *testing.T) {
	for _, c := range reference.Cases(t, "metrics.json") {
		t.Run(c.Name, func(t *testing.T) { metricsCase(t, c) })
	}
}

var balls = regexp.MustCompile(`^k([0-9]+)$`)

func metricsCase(t *testing.T, c *reference.Case) {
	var file struct {
		Values map[string]json.RawMessage `json:"values"`
	}
	c.JSON(t, &file)
	matrix := func(key string) fidelity.Matrix {
		s := c.Shape(t, key)
		return fidelity.Matrix{Rows: s[0], Cols: s[1], Data: c.Floats(t, key)}
	}
	const near, exactly = 1e-6, 1e-12 // the rounding of a share, below the effect of one count
	// compare compares a value of the file, a number or a list, with got.
	compare := func(name string, raw json.RawMessage, rtol float64, got ...float64) {
		t.Helper()
		var one float64
		var want []float64
		if json.Unmarshal(raw, &one) == nil {
			want = []float64{one}
		} else if err := json.Unmarshal(raw, &want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.Near(t, name, got, want, rtol)
	}
	value := func(v float64, err error) float64 {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return v
	}
	real, fake := matrix("real"), matrix("fake")
	p := pair(t, real, fake)
	subsets := func() []fidelity.Subset {
		shape, i, j := c.Shape(t, "kid_subset_real"), c.Ints(t, "kid_subset_real"), c.Ints(t, "kid_subset_fake")
		n, list := shape[1], make([]fidelity.Subset, shape[0])
		for k := range list {
			list[k] = fidelity.Subset{Real: i[k*n : (k+1)*n], Generated: j[k*n : (k+1)*n]}
		}
		return list
	}
	for name, raw := range file.Values {
		if balls.MatchString(name) {
			for _, n := range []string{"precision", "recall", "density", "coverage"} {
				c.Expect(name + "." + n)
			}
			continue
		}
		c.Expect(name)
		switch name {
		case "frechet_distance", "frechet_distance_sqrtm":
			compare(name, raw, near, value(frechet(real, fake)))
		case "frechet_distance_singular":
			few := real.Cols / 2
			compare(name, raw, near, value(frechet(fidelity.Matrix{Rows: few, Cols: real.Cols, Data: real.Data[:few*real.Cols]}, fake)))
		case "kid", "kid_per_subset":
			mean, each, err := p.Kernel(subsets())
			if value(mean, err); name == "kid" {
				each = []float64{mean}
			}
			compare(name, raw, near, each...)
		case "kid_first_rows":
			n := min(real.Rows, fake.Rows)
			mean, _, err := p.Kernel(all(n, n))
			compare(name, raw, near, value(mean, err))
		case "cmmd":
			compare(name, raw, near, value(pair(t, matrix("real_unit"), matrix("fake_unit")).CMMD()))
		case "vendi_real":
			compare(name, raw, near, value(fidelity.Vendi(real)))
		case "vendi_fake":
			compare(name, raw, near, value(fidelity.Vendi(fake)))
		}
	}
	for name, raw := range file.Values {
		m := balls.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		k, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Neighbours(k)
		if err != nil {
			t.Fatal(err)
		}
		var each map[string]json.RawMessage
		if err := json.Unmarshal(raw, &each); err != nil {
			t.Fatal(err)
		}
		for n, v := range each {
			c.Expect(name + "." + n) // a metric that is not computed here is reported as not compared
			if g, ok := map[string]float64{"precision": got.Precision, "recall": got.Recall, "density": got.Density, "coverage": got.Coverage}[n]; ok {
				compare(name+"."+n, v, exactly, g)
			}
		}
	}
}
