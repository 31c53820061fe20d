// Package store is a content-addressed cache on disk: it keeps the results of stages, so
// that nothing is computed twice.
//
// An action is a stage with all its parameters and inputs. Its name is an [ActionID], the
// hash of readable lines ([Key.Text]). Its result is an artifact, a folder of files,
// whose name is an [OutputID], the hash of its manifest. The folder of a store contains
//
//	actions/ab/abcd…              index entry: action → output, with the key's lines
//	artifacts/ab/abcd…/manifest   one line per file: digest, size, path
//	artifacts/ab/abcd…/files/…    the files, read-only
//	studies/NAME/study.json       the study and its module, and the backend of its last run
//	studies/NAME/found-CLASS      what a run found, and how its files looked (runner/lookup)
//	studies/NAME/conclusion.json  of what tables and report were made, and what the run printed (runner/result)
//	studies/NAME/roots            the actions that the study needs, so that others can be removed
//	studies/NAME/events/PROCESS.jsonl  journal: the attempts of one process at actions
//	studies/NAME/…                tables, report and logs of a study
//	failed/ACTION                 record of an action that failed
//	claims/ACTION                 name of the process that computes the action
//	live/PROCESS                  what a running process does, with its heartbeat
//	partial/ACTION/ENVIRONMENT/…  state of an unfinished training
//	quarantine/…                  damaged files, for inspection
//	tmp/…                         files that running processes are writing
//
// Files under actions and artifacts are written once: into tmp, synced, then renamed, the
// index entry last. A process that dies at any moment therefore leaves either nothing or
// all of an action. A look-up reads the index, the manifest and the sizes of files. Bytes
// are compared with their digests when they are read ([Store.Artifact], [Store.Files]). A
// corrupt entry or artifact is a miss with a reason ([MissError]): it is never returned,
// and never stops the program. A corrupt artifact is moved to quarantine/ when it is
// found, and a corrupt entry when it is replaced; neither is deleted. An entry of another
// format is missing, not damaged.
//
// Apart from that, opening and reading a store create and change nothing. The first write
// creates the folders, checks that all of them can be written, and removes files that
// dead processes left in tmp.
//
// Any number of processes may use a store at the same time, on one machine or on several
// with a shared file system that has atomic renames and links. No lock is taken. A process
// that is about to compute an action claims it ([Presence.Claim]), so that others compute
// something else; a claim lasts as long as the heartbeat of its owner. If two processes
// compute the same action at the same time, both succeed: the store keeps the
// bytes of the first, and the second gets these, with a note if its own differ. On a file
// system without links, the later of two that finish in the same moment may replace the
// first.
//
// A folder of results belongs to one study. study.json names the study and its module; a
// study of the same name in another module has another folder ([Store.ClaimStudy]). If
// the group may write the store's folder, it may write everything in the store.
//
// Nothing is removed but by [Garbage.Remove]: what no study needs, nobody uses and is not
// young. It moves index entries away before the artifacts that they name, so that there is
// no moment at which an entry names an artifact that is half removed.
//
// A store does NOT detect a forged entry, or a manifest that was forged together with its
// digest. A process trusts a file whose digest it has computed and whose times have not
// changed since.
package store
