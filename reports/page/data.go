package page

import (
	"bytes"
	"html/template"

	"ablate/analysis/table"
	"ablate/reports/text"
)

// download is a file with the data behind a table.
type download struct {
	Name string // of the file
	URL  template.URL
}

// downloads puts the data behind the tables where the page finds them.
func (v *view) downloads(place place) error {
	csv := func(name string, t *table.Table) (download, error) {
		var b bytes.Buffer
		if err := table.CSV(&b, t); err != nil {
			return download{}, err
		}
		url, err := place("data/"+name+".csv", "text/csv", b.Bytes())
		return download{v.Name + "-" + name + ".csv", url}, err
	}
	var err error
	if v.Ablation.Data, err = csv("table", text.Long(v.Table)); err != nil {
		return err
	}
	v.Differences.Data = v.Ablation.Data
	if v.Exchanges != nil {
		v.ByPrompt, err = csv("prompts", text.Prompts(v.Table, v.Exchanges))
	}
	return err
}
