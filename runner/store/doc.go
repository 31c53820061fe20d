// Package store keeps what stages produced, so that nothing is computed twice.
//
// An action (a stage with all its inputs) is named by an [ActionID], the hash of
// readable lines ([Key.Text]); what it produced is an artifact, a folder of files
// named by an [OutputID], the hash of its manifest. The folder of a store holds
//
//	actions/ab/abcd…              index entry: action → output, with the key's lines
//	artifacts/ab/abcd…/manifest   one line a file: digest, size, path
//	artifacts/ab/abcd…/files/…    the files, read-only
//	studies/NAME/study.json       whose results these are, and on which backend
//	studies/NAME/…                results, report, journal and logs of a study
//	quarantine/…                  what was damaged, for whoever wants to look at it
//	tmp/…                         what live processes are writing
//
// Everything under actions and artifacts is written once: into tmp, synced, then
// renamed, the index entry last. So whoever dies at whatever moment leaves either
// nothing or all of an action. A look-up reads the index, the manifest and the
// sizes of files; bytes are compared with their digests where they are read
// ([Store.Artifact], [Store.Files]). A corrupt entry or artifact is a miss with a
// reason ([MissError]), never a failure and never an answer. A corrupt artifact is
// moved to quarantine/ by whoever finds it, a corrupt entry by who enters another in
// its place; neither is deleted. An entry of another format is missing, not damaged.
//
// Opening and reading make and change nothing else. The first write makes the
// folders, looks whether all of them can be written, and removes what dead
// processes left in tmp.
//
// Any number of processes of one machine, or of several on a shared file system
// with atomic renames and links, may use a store at once: no lock is taken. Two
// that compute one action at the same time both succeed: the first enters its
// bytes, the second gets these, and is told if its own differ. On a file system
// without links the later of two that enter within the same moment may replace the
// first. The journal promises less, see [Journal].
//
// A folder of results is one study's. study.json names the study and its module; a
// study of the same name in another module has a folder beside it ([Store.ClaimStudy]).
// In a store whose folder its group may write, everything is made for the group.
//
// A store does NOT defend itself against someone who forges an entry, or both a
// manifest and its digest, and trusts, within one process, a file that it has
// checked once.
package store
