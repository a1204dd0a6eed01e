//go:build !race

package providers

const raceDetector = false
