// Package vectors finds the conformance data that the tests compare ozmo with.
package vectors
