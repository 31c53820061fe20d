// Package launch runs tasks in local worker processes.
//
// A worker is this program again, with a hidden command: libraries that abort take
// only the worker with them, and each worker keeps what it has compiled. The pool
// ([NewPool]) starts workers when they are needed, keeps each on one CPU if asked,
// and gives a task to a free worker that has run the same hint before, if there is
// one. The worker's side is [Serve].
//
// The two talk in JSON lines over the worker's standard input and output. The
// worker says hello; then, for each task it is sent, it answers with any number of
// progress lines and one result. What it writes to its standard error during a task
// is kept, and is part of an error ([Diagnostics]).
//
// No worker outlives its pool: it is killed by the kernel when its parent dies
// (Linux), and ends by itself when its standard input does. The package works on
// Unix; processes are pinned, and their memory is known, on Linux only.
package launch
