package verifier_test

import (
	"errors"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestStandIns: every scheme of the catalogue that needs keys accepts its
// stand-ins, they differ from one call to the next, and what one signs is refused with
// another.
func TestStandIns(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	for _, p := range all {
		rules, err := p.Rules()
		if err != nil {
			t.Fatalf("%s: %v", p.ID, err)
		}
		if rules.Scheme().SelfKeyed() {
			continue
		}
		one, err := rules.StandIns("tenant")
		if err != nil || len(one) == 0 {
			t.Errorf("%s: %d keys, %v", p.ID, len(one), err)
			continue
		}
		v, err := rules.Verifier(one)
		if err != nil {
			t.Errorf("%s: %v", p.ID, err)
			continue
		}
		other, err := rules.StandIns("tenant")
		if err != nil || one[0].Label != "tenant" || one[0].Kind == verifier.Secret && other[0].Text == one[0].Text {
			t.Errorf("%s: %+v is not random: %v", p.ID, one[0].Kind, err)
		}
		second, err := rules.Verifier(other)
		if err != nil || one[0].Kind != verifier.Secret {
			continue
		}
		r := &verifier.Request{Method: "POST", Header: make(map[string][]string), Target: "/", Host: "h"}
		if v.Sign(r, "id", now, []byte(`{"id":"1"}`)) != nil {
			continue
		}
		_, err = second.Judge(r, []byte(`{"id":"1"}`), now)
		if _, ok := errors.AsType[*verifier.Rejection](err); !ok {
			t.Errorf("%s: a delivery signed with another stand-in: %v", p.ID, err)
		}
	}
}
