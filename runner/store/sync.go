package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// writeSynced writes a new file and syncs it to disk. The file also gets the permissions
// share, whatever the umask.
func writeSynced(name string, data []byte, share fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if share &= 0o044; share != 0 {
		err = errors.Join(err, f.Chmod(0o400|share))
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFile syncs the bytes of a file to disk.
func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir syncs the names in a folder to disk. It ignores the error of file systems that
// do not support this.
func syncDir(name string) error {
	err := syncFile(name)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// syncTree adds the permissions share to dir and all folders below it, and syncs them to
// disk.
func syncTree(dir string, share fs.FileMode) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if share != 0 {
			info, err := d.Info()
			if err == nil {
				err = os.Chmod(p, info.Mode()|share)
			}
			if err != nil {
				return err
			}
		}
		return syncDir(p)
	})
}
