//go:build !race

package verifier

const raceDetector = false
