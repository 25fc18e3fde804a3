// Package eventually waits in tests for what happens on its own time.
package eventually
