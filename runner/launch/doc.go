// Package launch runs tasks in a pool of local worker processes.
//
// A worker is a process of the same program, started with a hidden command. If a library
// aborts, only the worker ends. A worker keeps the computations that it has compiled. The
// pool ([NewPool]) starts workers when they are needed. Each worker has a grant of the machine
// (runner/resource): threads, CPUs to which it is bound if asked, and GPUs. The pool gives a
// task to a free worker of an equal grant that has run a task with the same hint before, if
// there is one. The worker's side is [Serve].
//
// Pool and worker exchange JSON lines over the worker's standard input and output. The
// worker first sends a hello. For each task that it receives, it sends any number of
// progress lines and one result. The pool keeps the worker's standard error during a task
// and adds it to errors ([Diagnostics]).
//
// No worker outlives its pool. On Linux the kernel kills it when its parent dies, and it
// ends when its standard input is closed. The package works on Unix; binding to CPUs and
// measuring memory work on Linux only.
package launch
