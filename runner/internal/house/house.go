// Package house holds tests of the repository as a whole: what may import
// what, that every package says what it is for, and what tracked files may not
// contain. It has no code of its own.
package house
