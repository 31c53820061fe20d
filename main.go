// Ablate runs declarative alignment–fidelity ablations of text-to-image models.
package main

import (
	"os"

	"ablate/runner/cli"
)

func main() { os.Exit(cli.Main()) }
