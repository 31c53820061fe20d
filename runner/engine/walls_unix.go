//go:build unix && !linux

package engine

import "os/exec"

func (w *walls) wall(*exec.Cmd) error { return errNoWalls }

// BuildWalls is the hidden command of Linux.
func BuildWalls() error { return errNoWalls }
