//go:build race

package testcluster

// raceDetector tells how tests are built.
const raceDetector = true
