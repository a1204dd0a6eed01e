package providers

import (
	"slices"
	"strings"
	"testing"
)

// TestPublishedSecrets: no secret of a vector or example is missing.
func TestPublishedSecrets(t *testing.T) {
	published, err := PublishedSecrets()
	if err != nil {
		t.Fatal(err)
	}
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	vectors := 0
	for _, p := range all {
		if example := strings.TrimPrefix(p.ExampleSecret(), p.Scheme.SecretPrefix); example != "" && !slices.Contains(published, example) {
			t.Errorf("%s: the example %s is missing", p.ID, example)
		}
		for _, v := range slices.Concat(p.Vectors, p.HandshakeVectors) {
			if v.Secret != "" && !slices.Contains(published, v.Secret) {
				t.Errorf("%s: a vector's secret %q is missing", p.ID, v.Secret)
			}
			vectors++
		}
	}
	if vectors < 1000 {
		t.Errorf("%d vectors", vectors)
	}
}
