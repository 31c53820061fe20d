package cli

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ablate/docs"
	"ablate/experiments/language"
	"ablate/runner/device"
	"ablate/runner/labels"
	"ablate/runner/result"
	"ablate/runner/sandbox"
)

// completeTime limits how long completion may read a study.
const completeTime = 5 * time.Second

// complete adds shell completion to the arguments and flags whose values are known.
// Shells complete folders and files of studies themselves; complete adds the names of
// imported studies.
func complete(root *cobra.Command) {
	fixed := func(list []string) func(*language.Study) []string {
		return func(*language.Study) []string { return list }
	}
	flags := map[string]struct {
		reads  bool // values needs the study; reading it takes about a second
		values func(*language.Study) []string
	}{
		"table": {false, fixed(result.Names)}, "json-schema": {false, fixed(docs.Schemas())}, "as": {false, fixed(labels.Formats())}, "backend": {false, fixed(device.Classes)}, "inconclusive": {false, fixed([]string{"fail", "pass"})},
		"set": {false, func(*language.Study) (out []string) {
			for _, a := range language.Axes() {
				first, _, _ := strings.Cut(a.Doc, ". ")
				out = append(out, a.Path+"=\t"+first)
			}
			return out
		}},
		"only": {true, func(s *language.Study) (out []string) {
			for _, a := range s.Arms {
				out = append(out, a.Name)
			}
			return out
		}},
		"seed": {true, func(s *language.Study) (out []string) {
			for _, seed := range s.Seeds {
				out = append(out, seed.String())
			}
			return out
		}},
	}
	for _, c := range commands(root) {
		for name, f := range flags {
			// --seed of verify and sample is no seed of a study; label export writes our own formats only.
			if f := c.Flags().Lookup(name); f == nil || f.Value.Type() == "uint64" || name == "as" && f.DefValue != "" {
				continue
			}
			if err := c.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
				how := cobra.ShellCompDirectiveNoFileComp
				if name == "set" { // the user goes on to type its value
					how |= cobra.ShellCompDirectiveNoSpace
				}
				var s *language.Study
				if f.reads {
					if s = readStudy(cmd, args); s == nil {
						return nil, how
					}
				}
				return beginning(f.values(s), begun), how
			}); err != nil {
				panic(err) // a flag was registered twice: a bug
			}
		}
		if strings.Contains(c.Use, " STUDY") {
			c.ValidArgsFunction = func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
				return beginning(importedStudies(), begun), cobra.ShellCompDirectiveDefault
			}
		}
		if strings.Contains(c.Use, " STUDY TRIAL") {
			c.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
				if len(args) == 0 {
					return nil, cobra.ShellCompDirectiveDefault
				}
				var views []string
				if s := readStudy(cmd, args); s != nil && len(args) == 1 {
					for _, v := range s.Views {
						views = append(views, v.String())
					}
				}
				return beginning(views, begun), cobra.ShellCompDirectiveNoFileComp
			}
		}
	}
}

// importedStudies returns the names of the imported studies in the working folder.
func importedStudies() (names []string) {
	dirs, _ := filepath.Glob("imported/*") // the pattern is well formed
	for _, d := range dirs {
		names = append(names, filepath.Base(d))
	}
	return names
}

// readStudy reads the study that an unfinished command line names. It returns nil if
// there is none, or if it cannot be read in time.
func readStudy(cmd *cobra.Command, args []string) *language.Study {
	if len(args) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	s, err := sandbox.Load(ctx, args[0], nil)
	if err != nil {
		return nil // an error message would disturb the prompt; 'ablate vet' prints it
	}
	return s
}

// beginning returns the values that begin with begun, the text typed so far.
func beginning(values []string, begun string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return !strings.HasPrefix(v, begun) })
}
