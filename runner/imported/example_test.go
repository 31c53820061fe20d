package imported_test

import (
	"context"
	"fmt"

	"ablate/runner/imported"
)

// The runs table of W&B, read with one metric and with the learning rate as an axis.
func ExampleRead() {
	r, err := imported.Read(context.Background(), []string{"testdata/wandb.csv"}, imported.Options{
		Metrics: []string{"eval/fid"},
		Axes:    []string{"lr"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, x := range r.Runs {
		fmt.Println(r.View(x), x.Values[0].Value)
	}
	for _, m := range r.Metrics {
		fmt.Println(m.Name, m.Range, m.Better, m.GuessedBetter)
	}
	fmt.Println(r.Problems.List[0])
	// Output:
	// dpo[lr=0.0001]@1 10.5
	// dpo[lr=0.0001]@2 10.25
	// dpo[lr=0.0001]@3 10.75
	// sft[lr=0.001]@1 12.5
	// sft[lr=0.001]@2 12
	// eval/fid any lower true
	// testdata/wandb.csv:4: the run "dpo-s3" is "crashed"; allowed: finished; it is left out; wait until it ends, run it again, or ask for unfinished runs
}
