//go:build race

package check

// Under the race detector sync.Pool drops what is put into it at random.
const raceDetector = true
