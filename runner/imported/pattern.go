package imported

import (
	"regexp"
	"slices"
	"strings"
)

// defaultPatterns find the arm and the seed of a run in its name or in the path of its
// folder: ARM/seed_3, ARM/seed3, ARM_seed3, ARM-s3.
var defaultPatterns = []*regexp.Regexp{
	regexp.MustCompile(`(?i)(?:^|/)(?P<arm>[^/]+)/(?:seed|s)[_-]?(?P<seed>\d+(?:\.\d+)?)(?:/|$)`),
	regexp.MustCompile(`(?i)(?:^|/)(?P<arm>[^/]+?)[_-](?:seed|s)[_-]?(?P<seed>\d+(?:\.\d+)?)(?:/|$)`),
}

// patterns returns the pattern of the options, or else the default ones.
func (o *Options) patterns() []*regexp.Regexp {
	if o.Pattern != nil {
		return []*regexp.Regexp{o.Pattern}
	}
	return defaultPatterns
}

// named are the parts of a run's name or path.
type named struct {
	arm, seed string
	axes      [][2]string // name and value
	rest      string      // the path below the run's folder
}

// parse splits a name by the first pattern that matches.
func parse(patterns []*regexp.Regexp, name string) (n named, ok bool) {
	for _, p := range patterns {
		m := p.FindStringSubmatchIndex(name)
		if m == nil {
			continue
		}
		for i, group := range p.SubexpNames() {
			if group == "" || m[2*i] < 0 {
				continue
			}
			switch text := name[m[2*i]:m[2*i+1]]; group {
			case "arm":
				n.arm = text
			case "seed":
				n.seed = text
			default:
				n.axes = append(n.axes, [2]string{group, text})
			}
		}
		n.rest = strings.Trim(name[m[1]:], "/")
		return n, true
	}
	return named{}, false
}

// Names that seeds and arms often have in configurations, the most likely first.
var (
	seedNames = []string{"seed", "random_seed", "train_seed", "training_seed", "rng_seed", "global_seed", "manual_seed"}
	armNames  = []string{"arm", "method", "variant", "algorithm", "algo"}
)

// last returns the last part of a nested name.
func last(name string) string {
	return strings.ToLower(name[strings.LastIndexAny(name, "./")+1:])
}

// guessName returns the index in names of the most likely of the wanted names, or -1. A
// short name is more likely than a nested one.
func guessName(names []string, wanted []string) int {
	for _, w := range wanted {
		best := -1
		for i, n := range names {
			if last(n) == w && (best < 0 || len(n) < len(names[best])) {
				best = i
			}
		}
		if best >= 0 {
			return best
		}
	}
	return -1
}

func isSeedName(name string) bool { return slices.Contains(seedNames, last(name)) }
