// Package engine runs external engines: programs in any language that load, sample, train,
// score or embed in the place of native stages. An engine is a program that speaks the
// folder protocol of docs/engines.md. It is given an attempt folder with a request and
// inputs, and writes outputs and a result there.
//
// [Engine.Describe] asks a program what it can do. [Engine.Run] lets it do one task. It
// lays out the attempt folder, starts the program, follows its progress, asks it to stop,
// ends every process of the attempt, and checks and seals the outputs, so that they can
// become an artifact. [Probe] checks whether an engine keeps its promises.
//
// The package knows nothing of studies and of the store. It works on Unix; processes that
// have left their process group are found on Linux only.
package engine
