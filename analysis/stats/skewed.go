package stats

// skewedCoverage is measured by TestCoverage, which fails when it moves.
var skewedCoverage = []struct {
	n     int
	share float64
}{{3, .84}, {5, .82}, {8, .83}, {20, .88}}
