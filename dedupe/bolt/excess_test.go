package bolt

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestExcessIsThatOfTheLargest: what is left is as large as if the largest had lost one
// at a time.
func TestExcessIsThatOfTheLargest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sums := rapid.MapOf(rapid.IntRange(0, 50), rapid.IntRange(1, 9)).Draw(t, "sums")
		total := 0
		for _, n := range sums {
			total += n
		}
		n := rapid.IntRange(0, total).Draw(t, "n")
		got := excess(sums, n)
		maps.DeleteFunc(got, func(_, n int) bool { return n == 0 })

		want, left := make(map[int]int), maps.Clone(sums)
		for range n {
			most := -1
			for name, sum := range left {
				if most < 0 || sum > left[most] || sum == left[most] && name < most {
					most = name
				}
			}
			left[most]--
			want[most]++
		}
		sizes := func(lost map[int]int) map[int]int { // how many of each size are left: equals may differ
			count := make(map[int]int)
			for name, sum := range sums {
				count[sum-lost[name]]++
			}
			return count
		}
		if !maps.Equal(sizes(got), sizes(want)) {
			t.Fatalf("%d of %v: lost %v, want like %v", n, sums, got, want)
		}
	})
}
