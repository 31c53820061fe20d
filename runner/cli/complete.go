package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ablate/experiments/spec"
)

// complete gives the flags whose values are known their completions. A study is a
// folder or file, which shells complete themselves.
func complete(root *cobra.Command) {
	paths := func() []string {
		var out []string
		for _, a := range spec.Axes() {
			first, _, _ := strings.Cut(a.Doc, ". ")
			out = append(out, a.Path+"=\t"+first)
		}
		return out
	}
	values := map[string]func() []string{
		"of": func() []string { return tableNames }, "backend": func() []string { return classes },
		"inconclusive": func() []string { return []string{"fail", "pass"} }, "set": paths,
	}
	for _, c := range root.Commands() {
		for flag, list := range values {
			if c.Flags().Lookup(flag) == nil {
				continue
			}
			if err := c.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
				found := slices.DeleteFunc(slices.Clone(list()), func(v string) bool { return !strings.HasPrefix(v, begun) })
				how := cobra.ShellCompDirectiveNoFileComp
				if flag == "set" { // its value follows
					how |= cobra.ShellCompDirectiveNoSpace
				}
				return found, how
			}); err != nil {
				panic(err) // the same flag twice is a mistake of the program
			}
		}
		if c.Flags().Lookup("only") != nil {
			if err := c.RegisterFlagCompletionFunc("only", func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
				if len(args) == 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				s, err := loadStudy(cmd.Context(), args[0], nil)
				if err != nil {
					return nil, cobra.ShellCompDirectiveError
				}
				var arms []string
				for _, a := range s.Arms {
					if strings.HasPrefix(a.Name, begun) {
						arms = append(arms, a.Name)
					}
				}
				return arms, cobra.ShellCompDirectiveNoFileComp
			}); err != nil {
				panic(err)
			}
		}
	}
}
