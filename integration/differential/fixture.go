// Package differential compares the catalogue with the vendors' own code: what
// an SDK accepts or refuses, the provider's scheme must accept or refuse too.
//
// The SDKs are not here. The script generate installs them, lets them sign and
// judge random deliveries, and writes down what they said: one file an SDK under
// testdata. The test of this package replays those files, offline.
package differential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A Fixture is what one version of one SDK said.
type Fixture struct {
	SDK     string `json:"sdk"` // the package's name in its registry
	Version string `json:"version"`
	Runs    []Run  `json:"runs"`
}

// A Run is the part of a Fixture that one provider's scheme must agree with.
type Run struct {
	Provider   string     `json:"provider"` // id in the catalogue
	Calls      string     `json:"calls"`    // functions of the SDK that were asked
	Deliveries []Delivery `json:"deliveries"`
}

// Who signed a delivery, before anything of it was altered.
const (
	BySDK  = "sdk"    // the SDK itself
	ByUs   = "us"     // verifier.Sign with the provider's scheme
	ByHand = "crypto" // the generator, where Sign cannot put the signature or would draw a new one each time
)

// The verdicts of an SDK.
const (
	Genuine = "genuine"
	Refused = "refused"
)

// A Delivery is a request with the SDK's verdict.
type Delivery struct {
	Name       string              `json:"name"`
	SignedBy   string              `json:"signed_by"`
	Method     string              `json:"method"`
	URL        string              `json:"url"`
	Headers    map[string][]string `json:"headers"`
	Body       string              `json:"body,omitempty"`
	BodyBase64 []byte              `json:"body_base64,omitempty"` // instead, where the bytes are no UTF-8
	Secret     string              `json:"secret,omitempty"`
	PublicKey  string              `json:"public_key,omitempty"`
	Params     map[string]string   `json:"params,omitempty"`
	Now        int64               `json:"now"` // unix seconds at which both sides judge
	// Expect is the SDK's verdict: "genuine" or "refused".
	Expect string `json:"expect"`
	// Differs says why our verdict is the other one, on purpose. Empty: it is the same.
	Differs string `json:"differs,omitempty"`
}

// Bytes returns the body.
func (d *Delivery) Bytes() []byte {
	if d.BodyBase64 != nil {
		return d.BodyBase64
	}
	return []byte(d.Body)
}

// SetBytes sets the body.
func (d *Delivery) SetBytes(body []byte) {
	d.Body, d.BodyBase64 = "", nil
	if utf8.Valid(body) {
		d.Body = string(body)
	} else {
		d.BodyBase64 = body
	}
}

// Request is the delivery as the verifier sees it.
func (d *Delivery) Request() (*verifier.Request, error) {
	u, err := url.Parse(d.URL)
	if err != nil {
		return nil, err
	}
	header := make(map[string][]string, len(d.Headers))
	for name, lines := range d.Headers {
		header[textproto.CanonicalMIMEHeaderKey(name)] = lines
	}
	return &verifier.Request{Method: d.Method, Header: header, Target: u.RequestURI(), Host: u.Host, TLS: u.Scheme == "https"}, nil
}

// Judge returns our verdict: nil for a genuine delivery, else the reason.
func (d *Delivery) Judge(provider string) error {
	v, err := d.verifier(provider)
	if err != nil {
		return err
	}
	req, err := d.Request()
	if err != nil {
		return err
	}
	_, err = v.Judge(req, d.Bytes(), time.Unix(d.Now, 0))
	return err
}

// compiled holds verifiers by provider and public key: to look at one of
// Ed25519 costs milliseconds.
var compiled sync.Map

func (d *Delivery) verifier(provider string) (*verifier.Verifier, error) {
	key := verifier.Key{Text: d.Secret}
	if d.PublicKey != "" {
		key = verifier.Key{Text: d.PublicKey, Kind: verifier.PublicKey}
		if v, ok := compiled.Load(provider + " " + d.PublicKey); ok {
			return v.(*verifier.Verifier), nil
		}
	}
	p, err := providers.Get(provider)
	if err != nil {
		return nil, err
	}
	scheme := p.Scheme
	scheme.Params = d.Params
	v, err := verifier.New(scheme, []verifier.Key{key})
	if err == nil && d.PublicKey != "" {
		compiled.Store(provider+" "+d.PublicKey, v)
	}
	return v, err
}

// Check replays a delivery. The error says in what we and the SDK, or we and
// the fixture's own note, disagree.
func (d *Delivery) Check(provider string) error {
	got := d.Judge(provider)
	if _, rejected := errors.AsType[*verifier.Rejection](got); got != nil && !rejected {
		return fmt.Errorf("cannot be judged: %w", got)
	}
	if d.Expect != Genuine && d.Expect != Refused {
		return fmt.Errorf("expect %q is not a verdict: regenerate the fixture", d.Expect)
	}
	agree := (got == nil) == (d.Expect == Genuine)
	switch {
	case agree && d.Differs != "":
		return fmt.Errorf("the SDK and we both say %s, but the fixture notes a difference: regenerate it", d.Expect)
	case !agree && d.Differs == "":
		return fmt.Errorf("the SDK says %s, we say %s", d.Expect, verdict(got))
	}
	return nil
}

func verdict(err error) string {
	if err == nil {
		return Genuine
	}
	return err.Error()
}

// Load reads the fixtures of a directory in the order of their names. A field
// that does not exist is an error: it would be a claim that nobody checks.
func Load(dir string) ([]*Fixture, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []*Fixture
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		f := new(Fixture)
		if err := d.Decode(f); err != nil {
			return nil, fmt.Errorf("fixture %s: %w", name, err)
		}
		all = append(all, f)
	}
	return all, nil
}
