package tenants

import (
	"context"
	"errors"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// Namespace is the namespace of sources among Caddy's modules.
const Namespace = "http.handlers.verify_webhook.tenants"

// A Source is a guest module that knows the keys of tenants. Its Provision must not
// connect to or open anything, as caddy validate runs it too. It is safe for concurrent
// use.
type Source interface {
	// Find returns what the source has for a tenant now. name is one that Name returned;
	// had is what Find returned for it last, also of a source that a reload replaced by
	// this one of the same configuration, nil if that is unknown, and Find may return it
	// again if nothing has changed. Errors are ErrUnknown, ErrDown or others, see
	// there; they hold no key.
	Find(ctx context.Context, name string, had *Found) (*Found, error)
	// Terms says how long an answer counts. It does not change.
	Terms() Terms
}

// Found is what a source has for a tenant. It does not change once returned.
type Found struct {
	// Keys verify the tenant's deliveries. One match is enough. There is at least one.
	// Their labels appear in logs and in the history; default: their positions. A secret
	// that is a name, a placeholder or published, or has several lines, fails the answer.
	Keys []verifier.Key
	// Texts says that the texts of Keys are those of files, which may hold any text: each
	// may hold several keys, one a line, as any key file.
	Texts bool
	// Skipped are files of the tenant that are not read, because their names are those of
	// backups. They are logged.
	Skipped []string
	// Exposed are files and folders of the tenant that every user of the machine may write.
	// They are logged.
	Exposed []string
	// Soon says that the keys may be about to change: the source is asked again as soon
	// as after a mismatch.
	Soon bool
	// State is the source's own.
	State any
}

// Terms says how long the answers of a source count.
type Terms struct {
	// Fresh is how long keys are used without asking again.
	Fresh time.Duration
	// Stale is how long after the last answer the keys are used while the source is
	// down.
	Stale time.Duration
	// Unknown is how long the source is not asked again about a name it does not know. For
	// a Remote source it is Again: strangers, who are answered 503 meanwhile, could
	// otherwise tell unknown names from those of tenants.
	Unknown time.Duration
	// Again is the pause after which it is asked again because a delivery does not match
	// the keys, or because it has failed. A source that is not Remote is asked for each
	// delivery that does not match, unless it has failed or its keys are Soon.
	Again time.Duration
	// Remote says that asking costs more than reading a file: it happens in the
	// background where possible, and within budgets.
	Remote bool
}

var (
	// ErrUnknown is the error for a tenant that the source does not have, or no longer
	// has: its deliveries are refused, whatever is cached. Of a source that is not Remote
	// this counts for a tenant with keys once two looks, Terms.Again apart, agree; until
	// then they are answered 503.
	ErrUnknown = errors.New("the source has no such tenant")
	// ErrDown is the error of a source that cannot answer now: the keys that it gave last
	// are used for Terms.Stale. With any other error they are not; either way a delivery
	// without keys is answered 503, and its sender retries.
	ErrDown = errors.New("the source does not answer now")
)
