package providers

import (
	"strings"
	"testing"
)

func TestOthersFor(t *testing.T) {
	names := func(header map[string][]string) (all []string) {
		for _, o := range OthersFor(header, "") {
			all = append(all, o.Name)
		}
		return all
	}
	if got := names(map[string][]string{"Stripe-Signature": {"t=1,v1=00"}}); len(got) == 0 || !strings.Contains(strings.Join(got, " "), "stripe") {
		t.Errorf("of Stripe-Signature: %q", got)
	}
	if got := names(map[string][]string{"Webhook-Signature": {"v1,x"}}); len(got) < 10 || len(got) > maxOthers {
		t.Errorf("of Webhook-Signature: %d senders", len(got))
	}
	if got := names(map[string][]string{"Content-Type": {"a"}, "Stripe-Signature": nil}); len(got) != 0 {
		t.Errorf("of no signature: %q", got)
	}
}
