package train

import "fmt"

// Curve has the metrics of a training over its steps: Values[m][i] is metric m at Steps[i].
type Curve struct {
	Metrics []string    `json:"metrics"`
	Steps   []int       `json:"steps"`
	Values  [][]float64 `json:"values"`
}

// NewCurve returns an empty curve.
func NewCurve(metrics ...string) *Curve {
	return &Curve{Metrics: metrics, Values: make([][]float64, len(metrics))}
}

// Add adds a point.
func (c *Curve) Add(step int, values ...float64) {
	c.Steps = append(c.Steps, step)
	for i, v := range values {
		c.Values[i] = append(c.Values[i], v)
	}
}

// Check returns an error for the first value that is not finite, after which the training has
// diverged.
func (c *Curve) Check() error {
	for m, values := range c.Values {
		for i, v := range values {
			if v-v != 0 {
				return fmt.Errorf("%s is %v at step %d: the training diverged (a smaller learning rate helps)", c.Metrics[m], v, c.Steps[i])
			}
		}
	}
	return nil
}

// points is the number of points of a training's curve.
const points = 100

// spacing returns the number of steps between two points of a training's curve.
func spacing(steps int) int { return max(1, steps/points) }
