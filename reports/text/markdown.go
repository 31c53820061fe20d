package text

import (
	"regexp"
	"strings"
)

// Characters that Markdown, as GitHub and GitLab render it, takes for marks and not
// for themselves.
var markdownSpecial = strings.NewReplacer(`\`, `\\`, "`", "\\`", "_", `\_`, "~", `\~`, "$", `\$`, "&", "&amp;", "<", "&lt;", "\r", " ", "\n", " ")

var (
	star   = regexp.MustCompile(`\*+`)
	opener = regexp.MustCompile(`^(\d+)([.)])|^([-+#>=])`)
)

// markdown is text that reads in Markdown as it is. A star between spaces is one
// already, and stays: it marks what is significant.
func markdown(s string) string {
	s = markdownSpecial.Replace(s)
	var b strings.Builder
	from := 0
	for _, at := range star.FindAllStringIndex(s, -1) {
		b.WriteString(s[from:at[0]])
		from = at[1]
		stars := s[at[0]:at[1]]
		if spaced := (at[0] == 0 || s[at[0]-1] == ' ') && (at[1] == len(s) || s[at[1]] == ' '); !spaced || at[0] == 0 { // a list would begin with it
			stars = strings.ReplaceAll(stars, "*", `\*`)
		}
		b.WriteString(stars)
	}
	return b.String() + s[from:]
}

// markdownCell is text in a cell of a table.
func markdownCell(s string) string { return strings.ReplaceAll(markdown(s), "|", `\|`) }

// markdownBlock is text that begins a block, where it might begin a heading, a list
// or a quotation.
func markdownBlock(s string) string {
	s = strings.TrimSpace(s)
	return opener.ReplaceAllString(markdown(s), `$1\$2$3`)
}
