package integration

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// admin gets a page of the admin API.
func (g *gateway) adminGet(t testing.TB, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + g.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// metric returns a sample's value, given its name and labels as they are
// printed; 0 if there is none.
func (g *gateway) metric(t testing.TB, sample string) float64 {
	t.Helper()
	for line := range strings.Lines(g.adminGet(t, "/metrics")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), sample+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}
