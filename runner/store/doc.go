// Package store keeps what stages produced, so that nothing is computed twice.
//
// An action (a stage with all its inputs) is named by an [ActionID], the hash of
// readable lines ([Key.Text]); what it produced is an artifact, a folder of files
// named by an [OutputID], the hash of its manifest. The folder of a store holds
//
//	actions/ab/abcd…              index entry: action → output, with the key's lines
//	artifacts/ab/abcd…/manifest   one line a file: digest, size, path
//	artifacts/ab/abcd…/files/…    the files, read-only
//	studies/NAME/…                results and the journal of a study
//	tmp/…                         what live processes are writing
//
// Everything under actions and artifacts is written once: into tmp, synced, then
// renamed, the index entry last. So whoever dies at whatever moment leaves either
// nothing or all of an action. What is read is checked against its digests; a
// corrupt entry or artifact is a miss with a reason ([MissError]), never a
// failure and never an answer.
//
// Any number of processes of one machine, or of several on a shared file system
// with atomic renames, may use a store at once: no lock is taken. Two that compute
// one action at the same time both succeed, the second finds the first's bytes.
// A store does NOT defend itself against someone who forges both a manifest and
// its digest, and trusts, within one process, a file that it has checked once.
package store
