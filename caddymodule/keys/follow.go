package keys

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

const (
	// fileInterval is how often key files are reread. A change counts after two equal
	// reads, so it is in use within two seconds. Files are polled because file events
	// miss the symbolic links that secret mounts swap.
	fileInterval = time.Second
	// setInterval is how often the age of a fetched key set is checked.
	setInterval = 10 * time.Second
)

// Follow keeps the keys current until ctx ends. It rereads key files, and fetches
// published keys before a delivery needs them: a key set at once and whenever it is
// old, and the certificates whose addresses are in store, which may be nil. Follow
// returns at once and adds its goroutines to running, except for those that wait for
// store, which may hang.
func (k *Set) Follow(ctx context.Context, store Storage, running *sync.WaitGroup) {
	k.warnOfShort()
	k.warnOfDoubtful()
	if k.watches() {
		running.Go(func() { k.followFiles(ctx) })
	}
	switch {
	case k.published == nil:
	case len(k.published.sets) > 0:
		running.Go(func() { k.followSet(ctx) })
	case store != nil:
		go k.recall(ctx, store, k.id.storageKey())
	}
}

func (k *Set) followFiles(ctx context.Context) {
	ticker := time.NewTicker(fileInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := k.Refresh(); err != nil {
			k.logger.Error("keys cannot be used", zap.Error(err))
		}
		k.warnOfShort()
		k.warnOfDoubtful()
	}
}

func (k *Set) followSet(ctx context.Context) {
	ticker := time.NewTicker(setInterval)
	defer ticker.Stop()
	for {
		for _, address := range k.published.due(k.fetcher.clock()) {
			_ = k.Fetch(ctx, address, netip.Prefix{}, k.fetcher.clock()) // logs its errors
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Fetch fetches a key that a delivery names and the snapshot lacks, and puts it into
// use. id is the key's id in the delivery, client its source, came when it arrived. Nil
// means that the snapshot has all keys that the sender has published since, with or
// without that one. The error is a *NotNow if the fetch may begin later. Errors hold no
// address.
//
// A key set is fetched for any delivery that matches none of its keys: the id may be
// new, or the key under it. Once a minute that is free; more often it takes from the
// budget of the client, so that a stranger's forgery just before a rotation neither
// delays the first delivery with the new key nor has it refused as a forgery.
//
// Fetch waits, so that the delivery can still be verified. Answering 503 during the
// fetch would be simpler but loses deliveries: FusionAuth, whose key set is fetched,
// never retries, and its "All the webhooks must succeed" rolls back the transaction.
// Constant Contact publishes no retry schedule; Amazon SNS gives up after three
// retries in a minute.
func (k *Set) Fetch(ctx context.Context, id string, client netip.Prefix, came time.Time) error {
	p, now := k.published, k.fetcher.clock()
	n := need{address: id, client: client, known: p.knows(id)}
	if s := p.setOf(id); s != nil {
		n = need{address: s.address, client: client, known: p.young(s.address, now) == 0, set: true}
	}
	if p.lacks(n.address, came, now) {
		if err := k.fetcher.fetch(ctx, n, k.keep(n.address)); err != nil {
			if e, ok := errors.AsType[*NotNow](err); ok && p.young(n.address, now) > 0 {
				e.After = min(e.After, p.young(n.address, now)) // then it is free
			}
			return err
		}
	}
	return k.adopt()
}

// keep returns what stores the page fetched from address, and logs failures. It does not
// count that there is no key at an address that only a delivery names: anyone can name
// one on the sender's hosts.
func (k *Set) keep(address string) func(Page, error) error {
	shown, _, _ := strings.Cut(address, "?") // a query may hold a token
	ours := k.published.setOf(address) != nil || k.published.knows(address)
	return func(page Page, err error) error {
		answered := err == nil || isAnswer(err, address, k.scheme.KeySource.CertificateHosts)
		if err == nil {
			err = k.published.keep(address, page, k.fetcher.clock(), k.usableKey)
		}
		if err != nil {
			if ours || !answered {
				k.countFailure()
			}
			k.logger.Error("cannot fetch the sender's key", zap.String("address", shown), zap.Error(err),
				zap.String("consequence", "the keys fetched before stay in use; deliveries signed with another key are answered 503"))
		}
		return err
	}
}

// usableKey returns why a fetched text is not a key of the scheme.
func (k *Set) usableKey(text string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.usable(&source{use: usePublicKey}, []labelled{{text: text}})
}

// adopt puts fetched keys into use. It acquires the lock, held while files are read,
// only if the snapshot is out of date.
func (k *Set) adopt() error {
	if k.adopted() {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.adopted() {
		return nil
	}
	return k.swap()
}

func (k *Set) adopted() bool {
	now := k.fetcher.clock()
	_, version, _ := k.published.keys(now)
	s := k.Current()
	return s != nil && s.version == version && !s.expired(now)
}

// NoteUse records that a key verified a delivery of client, and returns its label for
// metrics. A certificate that verified one is not dropped for one that has not, and
// such a client has fetches of a key set that strangers cannot use up. All fetched keys
// share a label, because a sender may publish any number of them.
func (k *Set) NoteUse(verdict verifier.Verdict, client netip.Prefix) string {
	switch {
	case k.standIn != nil:
		return labelTenant
	case k.published == nil:
		return verdict.Key
	}
	if len(k.published.sets) > 0 {
		k.fetcher.verified(client)
	} else {
		k.published.used(verdict.KeyID)
	}
	return labelFetched
}

func (k *Set) countFailure() {
	if k.failed != nil {
		k.failed()
	}
}

// shortSecret is the length in bytes below which a secret is logged as short: 112
// bits, the minimum of NIST SP 800-131A Rev. 2 §10 for an HMAC key. Shorter ones are
// allowed, because some senders accept any text that a person types.
const shortSecret = 14

// warnOfShort logs the secrets that can be guessed, each set of them once.
func (k *Set) warnOfShort() {
	var labels []string
	if s := k.Current(); s != nil {
		labels = s.shortKeys(k.scheme.UsesBasic())
		if s.Signer != nil && len(s.Signer.ShortSecrets(shortSecret)) > 0 {
			labels = append(labels, "sign_upstream")
		}
		labels = append(labels, k.shortHeaders()...)
	}
	if len(labels) > 0 && !slices.Equal(labels, k.short) {
		k.logger.Warn("a secret is short enough to be guessed: use at least 16 random characters if the sender lets you choose",
			zap.Strings("keys", some(labels)))
	}
	k.short = labels
}

// shortKeys lists the short secrets, and those with a short password.
func (s *Snapshot) shortKeys(basic bool) []string {
	labels := s.Verifier.ShortSecrets(shortSecret)
	for _, key := range s.Keys {
		for _, password := range secretParts(key.Text, basic)[1:] {
			if len(password) < shortSecret && !slices.Contains(labels, key.Label) {
				labels = append(labels, key.Label)
			}
		}
	}
	return labels
}

// shortHeaders lists the required headers with a short secret.
func (k *Set) shortHeaders() (labels []string) {
	for _, s := range k.sources {
		isShort := func(t labelled) bool {
			return slices.ContainsFunc(k.parts(s, t), func(part string) bool { return len(bareSecret(part)) < shortSecret })
		}
		if s.use == useHeader && s.secret && slices.ContainsFunc(s.texts, isShort) {
			labels = append(labels, s.option)
		}
	}
	return slices.Compact(labels)
}

// warnOfDoubtful logs what is no error: the secrets that strangers know or guess, those
// that read as the name of one, and lines that may be one key. Those in files and such
// lines are Problems too. It does so once for each snapshot.
func (k *Set) warnOfDoubtful() {
	current := k.Current()
	if current == k.judged {
		return
	}
	k.judged = current
	k.warnOfForeign()
	var named, known, blank, marred, problems []string
	for _, s := range k.sources {
		for _, t := range s.texts {
			if t.even > 0 && t.line == 1 && (s.use == useSecret || s.use == useUpstream) {
				lines := fmt.Sprintf(manyInOne, t.even, t.even)
				problems = append(problems, fmt.Sprintf("%s: key %s: %s", s, s.keyLabel(t), lines))
				k.logger.Warn(lines, zap.String("key", s.keyLabel(t)))
			}
			switch {
			case !s.secret:
			case s.kind == fileValue && slices.ContainsFunc(k.parts(s, t), isKnown):
				known = append(known, s.keyLabel(t))
				problems = append(problems, fmt.Sprintf("%s: key %s: %s", s, s.keyLabel(t), guessableFile))
			case slices.ContainsFunc(k.parts(s, t), readsAsName):
				named = append(named, s.keyLabel(t))
			case s.kind != literalValue && s.use != useHeader && holdsBlank(t.text): // a header's may begin with ApiKey
				blank = append(blank, s.keyLabel(t))
				if s.kind == fileValue {
					problems = append(problems, fmt.Sprintf("%s: key %s: %s", s, s.keyLabel(t), maybeMessage))
				}
			case holdsUnseen(t.text):
				marred = append(marred, s.keyLabel(t))
				if s.kind == fileValue {
					problems = append(problems, fmt.Sprintf("%s: key %s: %s", s, s.keyLabel(t), unseenPart))
				}
			}
		}
	}
	if len(named) > 0 {
		k.logger.Warn("a secret reads as the name of one or as a placeholder, which can be guessed: copy its value, or use at least 16 random characters if the sender lets you choose",
			zap.Strings("keys", some(named)))
	}
	if len(known) > 0 {
		k.logger.Warn(guessableFile, zap.Strings("keys", some(known)))
	}
	if len(blank) > 0 {
		k.logger.Warn(maybeMessage, zap.Strings("keys", some(blank)))
	}
	if len(marred) > 0 {
		k.logger.Warn(unseenPart, zap.Strings("keys", some(marred)))
	}
	problems = some(problems)
	k.doubtful.Store(&problems)
}

const guessableFile = "the secret in a key file is a placeholder, published in documentation or easily guessed, so anyone may sign with it: use a random one, at the sender too (openssl rand -hex 32)"

const maybeMessage = "a secret holds blanks: if it is no passphrase, it is a message of the program that was to write it, and strangers try the usual ones"

const unseenPart = "a secret begins or ends with a blank, or holds an invisible character, which counts: write it without, unless the sender has it too"

// some shortens a list for a log line: a handler may have many keys.
func some(labels []string) []string {
	const most = 32
	if len(labels) <= most {
		return labels
	}
	return append(slices.Clone(labels[:most]), fmt.Sprintf("and %d more", len(labels)-most))
}
