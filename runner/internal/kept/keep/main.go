// Command keep writes the tables of a study that has run into a folder of this
// repository:
//
//	go run ./runner/internal/kept/keep .ablate/studies/lee2023 experiments/lee2023/results
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"ablate/analysis/table"
	"ablate/runner/internal/kept"
	"ablate/runner/result"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "keep: want the folder of a study's tables in the store and the folder to write")
		os.Exit(2)
	}
	if err := keep(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "keep:", err)
		os.Exit(1)
	}
}

func keep(from, to string) error {
	var t result.Tables
	for name, t := range map[string]**table.Table{"trials": &t.Trials, "samples": &t.Samples, "curves": &t.Curves} {
		var err error
		if *t, err = table.ReadFile(filepath.Join(from, name+".arrow")); err != nil {
			return err
		}
	}
	return kept.Write(to, &t)
}
