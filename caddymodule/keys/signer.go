package keys

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// compileSigner builds the signer of upstream requests; nil without sign_upstream. It
// refuses the sender's secrets: the sender could then sign for the gateway.
func (k *Set) compileSigner() (signer *verifier.Verifier, secret string, err error) {
	i := slices.IndexFunc(k.sources, func(s *source) bool { return s.use == useUpstream })
	if i < 0 || len(k.sources[i].texts) == 0 {
		return nil, "", nil
	}
	secret = k.sources[i].texts[0].text
	if signer, err = newSigner(secret); err != nil {
		return nil, "", err
	}
	for _, s := range k.sources {
		for _, t := range s.texts {
			if s.use == useSecret && (t.text == secret || signsLike(signer, t.text)) {
				return nil, "", errSharedSecret
			}
		}
	}
	return signer, secret, nil
}

var errSharedSecret = errors.New("sign_upstream: this secret is also one of the sender's: use a separate secret for the app")

// SignsAs reports whether s signs for the app with a secret of the senders of the other:
// they could sign for the gateway, and so could whoever an answer to a handshake is
// made for. Either may be nil.
func (s *Snapshot) SignsAs(other *Snapshot) bool {
	return s != nil && s.Signer != nil && other != nil && (s.Signer.SharesSecret(other.Verifier) || other.hasSecret(s.SignerKey, s.Signer))
}

// SharesSecret reports whether the senders of the two have a secret in common: the same
// bytes, or a text that one of them decodes and the other does not. Either may be nil.
func (s *Snapshot) SharesSecret(other *Snapshot) bool {
	return s != nil && other != nil && (s.Verifier.SharesSecret(other.Verifier) || slices.ContainsFunc(s.Keys, func(k verifier.Key) bool {
		return k.Kind == verifier.Secret && other.hasSecret(k.Text, s.Verifier)
	}))
}

// hasSecret reports whether the text of a secret of v is one of a secret of s. The prefix of
// either (whsec_) and the padding are optional. The start compares each two handlers.
func (s *Snapshot) hasSecret(text string, v *verifier.Verifier) bool {
	here, there := s.Verifier.SecretPrefix(), v.SecretPrefix()
	bare := func(text string) string {
		text = strings.TrimRight(strings.TrimSpace(text), "=")
		return strings.TrimPrefix(strings.TrimPrefix(text, there), here)
	}
	text = bare(text)
	return slices.ContainsFunc(s.Keys, func(k verifier.Key) bool { return k.Kind == verifier.Secret && bare(k.Text) == text })
}

// UsesSecrets reports whether a key is a secret, which signs too. s may be nil.
func (s *Snapshot) UsesSecrets() bool {
	return s != nil && slices.ContainsFunc(s.Keys, func(k verifier.Key) bool { return k.Kind == verifier.Secret })
}

// signsLike reports whether secret is the signer's secret in another spelling: the
// prefix whsec_ and the padding are optional.
func signsLike(signer *verifier.Verifier, secret string) bool {
	other, err := newSigner(secret)
	if err != nil {
		return false
	}
	a, b := make(http.Header), make(http.Header)
	return signer.Sign(&verifier.Request{Header: a}, "probe", time.Unix(0, 0), nil) == nil &&
		other.Sign(&verifier.Request{Header: b}, "probe", time.Unix(0, 0), nil) == nil &&
		a.Get("Webhook-Signature") == b.Get("Webhook-Signature")
}

var standardWebhooks = sync.OnceValues(func() (*verifier.Rules, error) {
	p, err := providers.Get("standard_webhooks")
	if err != nil {
		return nil, err
	}
	return p.Rules()
})

// newSigner returns a signer for Standard Webhooks.
func newSigner(secret string) (*verifier.Verifier, error) {
	rules, err := standardWebhooks()
	if err != nil {
		return nil, err
	}
	v, err := rules.Verifier([]verifier.Key{{Text: secret}})
	if e, ok := errors.AsType[*verifier.KeyError](err); ok {
		return nil, errors.New(e.Problem)
	}
	return v, err
}
