package diskfault

import (
	"fmt"
	"syscall"
)

// Names of operations.
const (
	Create    = "create" // or truncate
	Write     = "write"
	Sync      = "sync"
	SyncAll   = "sync all" // the whole file system
	Mkdir     = "mkdir"
	Remove    = "remove"
	Rename    = "rename"
	Link      = "link"
	Attribute = "attribute" // permissions or times
)

// Op is an operation that changes a file.
type Op struct {
	Name   string
	Path   string // absolute path of the file or folder
	To     string // its new name, of Rename and Link
	Number int    // 1 for the first below the root
}

func (o Op) String() string {
	if o.To != "" {
		return fmt.Sprintf("%d: %s %s to %s", o.Number, o.Name, o.Path, o.To)
	}
	return fmt.Sprintf("%d: %s %s", o.Number, o.Name, o.Path)
}

// Fault is what becomes of an operation. The zero value lets it be done.
type Fault struct {
	Err   syscall.Errno // the operation fails with this error, and is not done
	Short bool          // of a write: half of the bytes are written, and the rest fails with Err
	Kill  bool          // the process is killed before the operation
}
