package text

import (
	"regexp"
	"strings"
)

// markdownSpecial escapes the characters that have a meaning in the Markdown of GitHub
// and GitLab.
var markdownSpecial = strings.NewReplacer(`\`, `\\`, "`", "\\`", "_", `\_`, "~", `\~`, "$", `\$`, "&", "&amp;", "<", "&lt;", "\r", " ", "\n", " ")

var (
	star   = regexp.MustCompile(`\*+`)
	opener = regexp.MustCompile(`^(\d+)([.)])|^([-+#>=])`)
)

// markdown escapes text for Markdown. A star between spaces needs no escape and stays; it
// marks significant differences.
func markdown(s string) string {
	s = markdownSpecial.Replace(s)
	var b strings.Builder
	from := 0
	for _, at := range star.FindAllStringIndex(s, -1) {
		b.WriteString(s[from:at[0]])
		from = at[1]
		stars := s[at[0]:at[1]]
		if spaced := (at[0] == 0 || s[at[0]-1] == ' ') && (at[1] == len(s) || s[at[1]] == ' '); !spaced || at[0] == 0 { // at the beginning of a line it would start a list
			stars = strings.ReplaceAll(stars, "*", `\*`)
		}
		b.WriteString(stars)
	}
	return b.String() + s[from:]
}

// markdownCell escapes text for a cell of a table.
func markdownCell(s string) string { return strings.ReplaceAll(markdown(s), "|", `\|`) }

// markdownBlock escapes text at the beginning of a block, where it could start a heading,
// a list or a quotation.
func markdownBlock(s string) string {
	s = strings.TrimSpace(s)
	return opener.ReplaceAllString(markdown(s), `$1\$2$3`)
}
