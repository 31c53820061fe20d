package page

import (
	"bytes"
	"html/template"
	"strings"

	"ablate/analysis/table"
	"ablate/reports/text"
)

// download is a file with the data behind a table.
type download struct {
	ID   string // id of the link, if other links lead to it
	Name string // name of the file; empty if the link leads to another link
	URL  template.URL
}

// downloads writes the data behind the tables to places where the page finds them.
func (v *view) downloads(place place) error {
	csv := func(name string, t *table.Table) (download, error) {
		var b bytes.Buffer
		if err := table.CSV(&b, t); err != nil {
			return download{}, err
		}
		url, err := place("data/"+name+".csv", "text/csv", b.Bytes())
		return download{name + "-data", v.Name + "-" + name + ".csv", url}, err
	}
	var err error
	if v.Ablation.Data, err = csv("table", text.Long(v.Table)); err != nil {
		return err
	}
	v.Again = v.Ablation.Data
	if v.Again.ID = ""; strings.HasPrefix(string(v.Again.URL), "data:") { // a data URL should be in the page only once
		v.Again = download{URL: template.URL("#" + v.Ablation.Data.ID)}
	}
	v.Differences.Data = v.Again
	if v.Exchanges != nil {
		v.ByPrompt, err = csv("prompts", text.Prompts(v.Table, v.Exchanges))
	}
	return err
}
