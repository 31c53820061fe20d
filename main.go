// Ablate runs ablation studies of text-to-image models that are fine-tuned on human
// feedback. Package runner/cli has the commands.
package main

import (
	"os"

	"ablate/runner/cli"
)

func main() { os.Exit(cli.Main()) }
