package verifier

import (
	"strings"
	"testing"
)

func visiting(edit func(*Handshake)) Scheme {
	h := Handshake{
		When: HandshakeWhen{HandshakeFields: HandshakeFields{JSON: map[string]StringList{"type": {"confirm"}}}}, Signed: true,
		Visit: &HandshakeVisit{JSON: "visit", Hosts: []string{"sns.*.amazonaws.com"}},
	}
	if edit != nil {
		edit(&h)
	}
	return bare(func(s *Scheme) { s.Handshakes = []Handshake{h} })
}

// TestVisits: which addresses a signed handshake may visit.
func TestVisits(t *testing.T) {
	v, err := New(visiting(nil), []Key{{Text: testKey}})
	if err != nil {
		t.Fatal(err)
	}
	const good = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=1"
	for address, want := range map[string]bool{
		good: true,
		"https://sns.us-east-1.amazonaws.com/x?Action=1":             false,
		"https://sns.us-east-1.amazonaws.com":                        false,
		"http://sns.us-east-1.amazonaws.com/?Action=1":               false,
		"https://sns.us-east-1.amazonaws.com:8443/?Action=1":         false,
		"https://sns.us-east-1.amazonaws.com.evil.example/?Action=1": false,
		"https://evil.example/?https://sns.us-east-1.amazonaws.com/": false,
		"https://sns.us-east-1.amazonaws.com@evil.example/?Action=1": false,
		"https://sns.us-east-1.amazonaws.com/?Action=1#x":            false,
		"": false,
	} {
		body := `{"type":"confirm","visit":"` + address + `"}`
		answer, err := greeted(v, post("X-Signature", macOf(testKey, body)), body)
		if want && (err != nil || answer == nil || answer.Visit != address || answer.Status != 200) {
			t.Errorf("%q: %+v, %v", address, answer, err)
		}
		if !want && (answer != nil || rejection(t, err).Reason != HandshakeMismatch) {
			t.Errorf("%q: %+v, %v, want handshake_mismatch", address, answer, err)
		}
	}
	for want, edit := range map[string]func(*Handshake){
		"visit: requires signed":          func(h *Handshake) { h.Signed = false },
		"visit: hosts: missing":           func(h *Handshake) { h.Visit.Hosts = nil },
		`visit: hosts: "*.amazonaws.com"`: func(h *Handshake) { h.Visit.Hosts = []string{"*.amazonaws.com"} },
		"visit: write a JSON path":        func(h *Handshake) { h.Visit.JSON = "a..b" },
	} {
		if err := validate(visiting(edit)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
