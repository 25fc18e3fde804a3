// Package logs keeps what is logged during a test.
package logs
