//go:build !linux

package store

import "errors"

func syncFileSystem(string) error { return errors.ErrUnsupported }
