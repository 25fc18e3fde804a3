// Package console writes alerts for people to read, one block of lines each.
// It serves terminals and demonstrations; it never sends anything anywhere.
package console
