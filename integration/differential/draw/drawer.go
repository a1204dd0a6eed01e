package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// genuineCount is how many genuine deliveries every subject gets.
const genuineCount = 12

// A drawer makes the deliveries of one subject.
type drawer struct {
	*subject
	provider *providers.Provider
	r        *rand.Rand
	pair     keyPair // the sender's, of an asymmetric scheme
}

func newDrawer(s *subject, r *rand.Rand) (*drawer, error) {
	p, err := providers.Get(s.provider)
	d := &drawer{subject: s, provider: p, r: r}
	if s.key != nil {
		d.pair = s.key(r)
	}
	return d, err
}

func (d *drawer) genuine() ([]differential.Delivery, error) {
	var all []differential.Delivery
	for i := range genuineCount {
		delivery, err := d.one(i)
		if err != nil {
			return nil, fmt.Errorf("delivery %d: %w", i, err)
		}
		all = append(all, *delivery)
	}
	return all, nil
}

// one draws a delivery and has it signed, by the SDK and by us in turn.
func (d *drawer) one(i int) (*differential.Delivery, error) {
	t := &differential.Delivery{
		Method:  "POST",
		URL:     "https://hooks.example.com/hooks/" + d.subject.provider,
		Headers: make(map[string][]string),
		Now:     1_680_000_000 + d.r.Int64N(110_000_000),
	}
	if d.key != nil {
		t.PublicKey = d.pair.public
	} else if d.secret != nil {
		t.Secret = d.secret(d.r)
	} else {
		t.Secret = textSecret(d.r)
	}
	if d.prepare != nil {
		d.prepare(d.r, t)
	}
	style := d.fill(i, t)
	if id := d.provider.Scheme.DeliveryID; id != nil && len(id.Header) > 0 && t.Headers[id.Header[0]] == nil {
		t.Headers[id.Header[0]] = []string{"msg_" + text(d.r, alphanumeric, 20)}
	}
	err := d.sign(i, t)
	for tries := 0; err != nil && strings.Contains(err.Error(), ambiguous) && tries < 20; tries++ { // we do not sign what we refuse
		if d.draw != nil {
			d.draw(d.r, t)
		} else {
			style = styles[0].name
			t.SetBytes(styles[0].write(d.r, event(d.r)))
		}
		err = d.sign(i, t)
	}
	if err != nil {
		return nil, err
	}
	t.Name = fmt.Sprintf("genuine %d: %s", i+1, style)
	return t, nil
}

// fill draws the body.
func (d *drawer) fill(i int, t *differential.Delivery) string {
	if d.draw != nil {
		d.draw(d.r, t)
		return "the sender's own form"
	}
	var fit []style
	for _, s := range styles {
		if s.needs <= d.body {
			fit = append(fit, s)
		}
	}
	style := fit[(i/2)%len(fit)] // each once for every side that signs
	if !d.signs {
		style = fit[i%len(fit)]
	}
	if style.name == styles[1].name && i > len(fit) {
		style = fit[0] // one long body is enough
	}
	var given []member
	if d.members != nil {
		given = d.members(d.r, t.Now)
	}
	t.SetBytes(style.write(d.r, event(d.r, given...)))
	return style.name
}

func (d *drawer) sign(i int, t *differential.Delivery) error {
	if d.signs && (i%2 == 0 || d.carried != "") {
		err := d.signBySDK(t)
		if err == nil || len(t.Bytes()) > 0 { // some do not sign an empty body
			return err
		}
	}
	if d.craft != nil {
		t.SignedBy = differential.ByHand
		if ts := d.provider.Scheme.Timestamp; ts != nil && len(ts.Header) > 0 {
			t.Headers[ts.Header[0]] = []string{fmt.Sprint(t.Now)}
		}
		return d.craft(t, d.pair)
	}
	if twilioDigest(t) {
		t.SignedBy = differential.ByHand // Sign writes the first message of the scheme: the form's
		return twilioSigns(t, d.pair)
	}
	t.SignedBy = differential.ByUs
	return d.signOurselves(t)
}

func (d *drawer) signBySDK(t *differential.Delivery) error {
	a, err := d.oracle.ask(d.subject, "sign", t)
	if err != nil {
		return err
	}
	t.SignedBy = differential.BySDK
	for name := range a.Headers {
		delete(t.Headers, headerOf(t, []string{name}))
	}
	maps.Copy(t.Headers, a.Headers)
	delete(t.Headers, "Draw")
	delete(t.Headers, "Draw-Id")
	if a.Body != nil {
		t.SetBytes([]byte(*a.Body))
	}
	return nil
}

func (d *drawer) signOurselves(t *differential.Delivery) error {
	scheme := d.provider.Scheme
	scheme.Params = t.Params
	key := verifier.Key{Text: t.Secret}
	if d.pair.private != "" {
		key = verifier.Key{Text: d.pair.private, Kind: verifier.PrivateKey}
	}
	v, err := verifier.New(scheme, []verifier.Key{key})
	if err != nil {
		return err
	}
	req, err := t.Request()
	if err != nil {
		return err
	}
	id := ""
	switch s := scheme.DeliveryID; {
	case s == nil:
	case s.Claim != "":
		id = text(d.r, alphanumeric, 20)
	case len(s.Header) > 0:
		id = t.Headers[headerOf(t, s.Header)][0]
	}
	if err := v.Sign(req, id, time.Unix(t.Now, 0), t.Bytes()); err != nil {
		return err
	}
	t.Headers = req.Header
	return nil
}

// altered applies each alteration to one of the genuine deliveries, a short one.
func (d *drawer) altered(genuine []differential.Delivery) []differential.Delivery {
	var short []differential.Delivery
	for _, t := range genuine {
		if n := len(t.Bytes()); n > 0 && n < 1500 {
			short = append(short, t)
		}
	}
	var all []differential.Delivery
	for _, a := range d.alterations() {
		// Not every delivery has what is to be altered.
		for _, i := range d.r.Perm(len(short)) {
			t := clone(&short[i])
			if !a.apply(d, t) {
				continue
			}
			t.Name = a.name
			all = append(all, *t)
			break
		}
	}
	return all
}

func clone(t *differential.Delivery) *differential.Delivery {
	c := *t
	c.Headers = make(map[string][]string, len(t.Headers))
	for name, lines := range t.Headers {
		c.Headers[name] = slices.Clone(lines)
	}
	c.Params = maps.Clone(t.Params)
	return &c
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
