package stage

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ablate/models/checkpoint"
)

// Column is the stage that takes one column of what an engine gave images: verdicts or scores. So a judge
// that gives several columns runs once.
const Column Kind = "engine-column"

var columnDef = define(runColumn, Def{
	Kind: Column, Revision: 1,
	Inputs: []Input{{Name: ScoresInput}},
	Files:  optional(tabled(verdictsFile, scoresFile)...),
})

// ColumnParams are the parameters of [Column].
type ColumnParams struct {
	Column string `json:"column"`           // name
	Judges bool   `json:"judges,omitempty"` // the column is of numbers, and they are a judge's, in the place of verdicts
}

func (ColumnParams) memory() float64 { return 0 }
func (ColumnParams) cost() float64   { return .01 }

// columnsFile is the file of the artifact of [EngineScore].
const columnsFile = "columns.json"

// A ColumnSet has what an engine gave the images of a set.
type ColumnSet struct {
	Step    int                      `json:"step"`
	Columns map[string]*ColumnValues `json:"columns"` // by name
}

// ColumnValues are the values of a column: labels or scores.
type ColumnValues struct {
	Labels []string   `json:"labels,omitempty"` // world.Good, world.Bad or world.Skip; empty where there is none
	Scores []*float64 `json:"scores,omitempty"` // null where there is none
	Read   []string   `json:"read"`             // the other columns of an image with a label, or why there is no value
}

func readColumns(dir string) ([]ColumnSet, error) {
	var sets []ColumnSet
	path := filepath.Join(dir, columnsFile)
	if err := checkpoint.ReadJSON(path, &sets, true); err != nil {
		return nil, err
	}
	for _, s := range sets {
		for name, x := range s.Columns {
			if x == nil || max(len(x.Labels), len(x.Scores)) != len(x.Read) || x.Labels != nil && x.Scores != nil {
				return nil, fmt.Errorf("%s: step %d: column %s has not one label or one score for each image", path, s.Step, name)
			}
		}
	}
	return sets, nil
}

func runColumn(_ context.Context, _ *Env, t Task, p ColumnParams, _ Progress) error {
	sets, err := readColumns(t.in(ScoresInput))
	if err != nil {
		return err
	}
	var verdicts []VerdictSet
	var scores []ScoreSet
	for _, s := range sets {
		x := s.Columns[p.Column]
		switch {
		case x == nil:
			return fmt.Errorf("the engine gave no column %s", p.Column)
		case x.Labels != nil:
			verdicts = append(verdicts, VerdictSet{Step: s.Step, Labels: x.Labels, Read: x.Read})
		case p.Judges:
			verdicts = append(verdicts, VerdictSet{Step: s.Step, Numbers: x.Scores, Read: s.beside(p.Column)})
		default:
			scored := ScoreSet{Step: s.Step, Scores: make([]float32, len(x.Scores))}
			for i, v := range x.Scores {
				if scored.Scores[i] = missing; v != nil {
					scored.Scores[i] = float32(*v)
				}
			}
			scores = append(scores, scored)
		}
	}
	if verdicts != nil {
		return checkpoint.WriteJSON(filepath.Join(t.Out, verdictsFile), verdicts)
	}
	return WriteScores(t.Out, scores)
}

// beside describes what the other columns have of each image, as Read does of images with a label.
func (s ColumnSet) beside(column string) []string {
	out := slices.Clone(s.Columns[column].Read)
	for i, x := range s.Columns[column].Scores {
		if x == nil {
			continue // out has why there is none
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(s.Columns)) {
			switch y := s.Columns[name]; {
			case name == column:
			case y.Labels != nil && y.Labels[i] != "":
				parts = append(parts, name+" "+y.Labels[i])
			case y.Scores != nil && y.Scores[i] != nil:
				parts = append(parts, name+" "+strconv.FormatFloat(*y.Scores[i], 'g', 6, 64))
			}
		}
		out[i] = strings.Join(parts, ", ")
	}
	return out
}
