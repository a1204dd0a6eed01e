//go:build race

package providers

// Under the race detector sync.Pool drops what is put into it at random.
const raceDetector = true
