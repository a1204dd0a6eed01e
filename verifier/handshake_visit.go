package verifier

import (
	"errors"
	"fmt"
	"net/url"
)

// A HandshakeVisit is an address that the sender wants requested before it
// sends: whoever holds the Answer does that, and answers once it worked. It
// goes with signed alone, and with hosts of the sender's own: nobody else can
// point the receiver at an address.
type HandshakeVisit struct {
	// Path in the body of the address, which the signature covers: https, path /.
	JSON string `json:"json"`
	// Hosts, as in KeySource.
	Hosts []string `json:"hosts"`
}

// visit is a compiled HandshakeVisit.
type visit struct {
	source
	hosts []string
}

func (h *handshake) compileVisit(rule *Handshake) error {
	if rule.Visit == nil {
		return nil
	}
	if !rule.Signed {
		return errors.New("visit: goes with signed alone: else anyone could have the gateway visit an address")
	}
	p, err := newSource(inJSON, rule.Visit.JSON)
	if err != nil {
		return fmt.Errorf("visit: %w", err)
	}
	if len(rule.Visit.Hosts) == 0 {
		return errors.New("visit: hosts: missing: name the sender's own")
	}
	if problem := checkHosts(rule.Visit.Hosts); problem != "" {
		return fmt.Errorf("visit: hosts: %s", problem)
	}
	h.visit = &visit{source: p, hosts: rule.Visit.Hosts}
	return nil
}

// addressToVisit reads the address of a handshake, "" where it wants no visit.
func (c *Check) addressToVisit(h *handshake, body []byte) (string, *Rejection) {
	if h.visit == nil {
		return "", nil
	}
	address, ok := c.textAt(&h.visit.source, body)
	u, err := url.Parse(address)
	if !ok || err != nil || !fetchable(address) || u.Path != "/" || !onHosts(h.visit.hosts, u.Host) {
		return "", reject(HandshakeMismatch, "%s is not an address of the sender's own hosts", h.visit.source)
	}
	return address, nil
}
