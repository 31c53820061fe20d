// Package phrase formats counts, sizes in bytes, durations and shell arguments for
// messages.
package phrase

import (
	"fmt"
	"strings"
	"time"
)

// Count formats a number of things: "1 row", "3 rows".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Are is Count with its verb: "1 row is", "3 rows are".
func Are(n int, noun string) string {
	if n == 1 {
		return Count(n, noun) + " is"
	}
	return Count(n, noun) + " are"
}

// Seconds formats a duration of s seconds, from "3 s" to "2.5 years".
func Seconds(s float64) string {
	const year = 365 * 24 * 3600
	if s >= year { // a time.Duration overflows at 292 years
		return fmt.Sprintf("%.3g years", s/year)
	}
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 10*time.Minute:
		return fmt.Sprintf("%.1f min", d.Minutes())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

// Bytes formats a size of n bytes in decimal units: "512 B", "1.5 MB".
func Bytes(n int64) string {
	for _, u := range []struct {
		unit string
		of   int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.of {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.of), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// Shell quotes s as one word for a POSIX shell, if it needs quotes.
func Shell(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/=+-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
