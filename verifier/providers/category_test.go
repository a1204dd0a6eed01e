package providers

import (
	"slices"
	"testing"
)

// TestCategories: the list is sorted, says what each category is, and none is empty or
// missing in the catalogue, whose pages are listed by it.
func TestCategories(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, p := range all {
		if p.Category == "" {
			t.Errorf("%s.json: no category", p.ID)
		}
		count[p.Category]++
	}
	if !slices.IsSorted(CategoryIDs()) {
		t.Errorf("not sorted: %q", CategoryIDs())
	}
	for _, c := range Categories {
		if count[c.ID] < 5 || c.About == "" {
			t.Errorf("%s: %d senders, %q", c.ID, count[c.ID], c.About)
		}
	}
}
