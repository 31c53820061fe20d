// Package house contains tests of the repository as a whole: which package may import
// which, that every package has a comment, and strings that tracked files must not
// contain. It has no other code.
package house
