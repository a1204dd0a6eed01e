package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// rejectionView is what is shown of a rejection. Never its body.
type rejectionView struct {
	ID       string          `json:"id"`
	Time     time.Time       `json:"time"`
	Name     string          `json:"name"`
	Provider string          `json:"provider"` // "" without one
	Reason   verifier.Reason `json:"reason"`
	Detail   string          `json:"detail"`
	Skew     string          `json:"skew,omitempty"` // now minus the delivery's timestamp
	Keys     []string        `json:"keys"`           // labels of those that were tried
	Observed bool            `json:"observed"`       // and let through
	Remote   string          `json:"remote"`
	Method   string          `json:"method"`
	Host     string          `json:"host"`
	URL      string          `json:"url"`
}

// rejectionDetail is all that is shown of one.
type rejectionDetail struct {
	rejectionView
	Headers map[string][]string `json:"headers"` // credentials redacted
	Body    bodyView            `json:"body"`
	Hint    string              `json:"hint"` // "" if no usual mistake explains it
	Note    string              `json:"note,omitempty"`
}

// bodyView is what may be said of a body.
type bodyView struct {
	Read        bool   `json:"read"` // false: it was refused before
	Bytes       int    `json:"bytes"`
	Declared    *int64 `json:"declared,omitempty"` // how many were announced, where it was not read
	SHA256      string `json:"sha256,omitempty"`
	ContentType string `json:"content_type"`
	Truncated   bool   `json:"truncated"` // less of it is kept
}

func (r *rejection) view(app *App) rejectionView {
	return r.shown(r.redaction(app))
}

func (r *rejection) shown(hide redaction) rejectionView {
	v := rejectionView{
		ID: r.id, Time: r.time.UTC(), Name: r.name, Provider: r.provider, Reason: r.reason, Detail: hide.text(r.detail),
		Keys: append([]string{}, r.keys...), Observed: r.observed, Remote: r.remote, Method: r.method, Host: hide.text(r.host), URL: hide.target(r.target),
	}
	if r.skew != 0 {
		v.Skew = r.skew.String()
	}
	return v
}

func (r *rejection) viewAll(app *App, h hint) rejectionDetail {
	hide := r.redaction(app)
	body := bodyView{Read: r.read, Bytes: r.length, ContentType: hide.text(r.header.Get("Content-Type")), Truncated: len(r.body) < r.length}
	if !r.read && r.declared >= 0 {
		body.Declared = &r.declared
	}
	if r.read {
		sum := r.digest
		if !body.Truncated {
			sum = sha256.Sum256(r.body)
		}
		body.SHA256 = hex.EncodeToString(sum[:])
	}
	return rejectionDetail{rejectionView: r.shown(hide), Headers: hide.header(r.header), Body: body, Hint: h.text, Note: h.note}
}

func (r *rejection) redaction(app *App) redaction {
	if app == nil {
		return redactionOf(r.tried)
	}
	return redactionOf(app.snapshots(r.tried...))
}
