package verifier

import "testing"

// TestNoAllocations: verifying a genuine delivery allocates nothing, in Open or
// Verify.
func TestNoAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool allocates under the race detector")
	}
	for name, s := range benchSchemes(t) {
		t.Run(name, func(t *testing.T) {
			if n := testing.AllocsPerRun(200, func() {
				check, _, err := s.v.Open(s.req, benchNow)
				if err != nil {
					t.Error(err)
				}
				if _, _, err := check.Verify(benchBody); err != nil {
					t.Error(err)
				}
			}); n != 0 {
				t.Errorf("Open and Verify: %v allocations", n)
			}
		})
	}
}

// TestBenchmarksMeasureTheWholeWay: three candidates, the last of them genuine.
func TestBenchmarksMeasureTheWholeWay(t *testing.T) {
	s := benchSchemes(t)["standard_webhooks"]
	check, _, err := s.v.Open(s.req, benchNow)
	if err != nil || check.count != 3 {
		t.Errorf("%d candidates, %v", check.count, err)
	}
}
