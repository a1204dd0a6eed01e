package nats

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	retryPause = time.Second // before a server that failed is asked again
	pingPause  = 5 * time.Second
	maxPings   = 2 // without an answer, and the connection is lost
	idInStream = "verify_webhook_inbox"
	marksShare = 2.5      // what is stored, its headers and its marks take at most
	marksRoom  = 64 << 20 // for removals that have not expired

	// What a message may have besides the body: headers of the request.
	bodyHeadroom = 64 << 10
)

// run connects and reads the stream, again and again, until halt.
func (e *Engine) run() {
	for {
		err := e.connect()
		if err == nil {
			err = e.serve()
		}
		e.ail(err)
		pause := time.NewTimer(retryPause)
		select {
		case <-e.stop:
			pause.Stop()
			return
		case <-e.retry:
		case <-pause.C:
		}
		pause.Stop()
	}
}

// fail ends the reading of the stream, which then begins again.
func (e *Engine) fail(why error) {
	e.ail(why)
	select {
	case e.broken <- why:
	default:
	}
}

// ail notes that nothing is stored, and logs why when that is new.
func (e *Engine) ail(why error) {
	e.mu.Lock()
	known := e.closed || e.health != nil && e.health.Error() == why.Error()
	if !e.closed {
		e.health = why
	}
	e.mu.Unlock()
	if !known {
		e.log.Error("the inbox does not store deliveries: they go to the app at once", "error", why)
	}
}

// connect makes the connection, if there was none yet. It mends itself from then on.
func (e *Engine) connect() error {
	e.mu.Lock()
	have := e.nc
	e.mu.Unlock()
	if have != nil {
		return nil
	}
	o := nats.GetDefaultOptions()
	o.Servers, o.Name = slices.Clone(e.o.Servers), "verify_webhook inbox"
	o.AllowReconnect, o.MaxReconnect, o.ReconnectWait, o.IgnoreAuthErrorAbort = true, -1, retryPause, true
	o.ReconnectBufSize = -1 // what is not sent now is not sent later, when nobody waits for it
	o.PingInterval, o.MaxPingsOut, o.Timeout = pingPause, maxPings, e.o.patience
	o.DisconnectedErrCB = func(*nats.Conn, error) { e.fail(errLost) }
	o.ReconnectedCB = func(*nats.Conn) { signal(e.retry) }
	o.AsyncErrorCB = func(*nats.Conn, *nats.Subscription, error) {} // whoever asked is told
	if e.o.TLS != nil {
		o.Secure, o.TLSConfig = true, e.o.TLS
	}
	if e.o.Credentials != "" {
		if _, err := os.Stat(e.o.Credentials); err != nil {
			return fmt.Errorf("the credentials file cannot be read: %w", err)
		}
		if err := nats.UserCredentials(e.o.Credentials)(&o); err != nil {
			return errors.New("the credentials file cannot be used: it must hold a JWT and a seed")
		}
	}
	nc, err := o.Connect()
	if err != nil {
		return connectError(err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(e.o.patience))
	if err != nil {
		nc.Close()
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.halted {
		nc.Close()
		return errClosed
	}
	e.nc, e.js = nc, js
	return nil
}

// connectError leaves out what may hold a password: URLs.
func connectError(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return errors.New("no NATS server answers")
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return errors.New("the certificate of the NATS server is not signed by an authority that is trusted here: name the file of its authority (ca <file>)")
	case errors.Is(err, nats.ErrTLS):
		return fmt.Errorf("the TLS handshake with the NATS server fails: %w", err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return errors.New("the NATS server does not offer TLS")
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return errors.New("the NATS server refuses the credentials")
	}
	var url interface{ Timeout() bool }
	if errors.As(err, &url) && url.Timeout() {
		return errors.New("the NATS server does not answer")
	}
	return errors.New("the connection to NATS fails: check the addresses, and whether TLS is asked for")
}

// open finds the stream, or makes it, and sees to it that it is one of an inbox.
func (e *Engine) open(ctx context.Context) (jetstream.Stream, error) {
	s, err := e.js.Stream(ctx, e.o.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		var id [8]byte
		rand.Read(id[:]) // never fails
		s, err = e.js.CreateStream(ctx, e.wanted(jetstream.StreamConfig{
			Metadata: map[string]string{idInStream: hex.EncodeToString(id[:])},
		}))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another gateway was first
			s, err = e.js.Stream(ctx, e.o.Stream)
		}
	}
	if err != nil {
		return nil, streamError(err)
	}
	have := s.CachedInfo().Config
	if have.Metadata[idInStream] == "" || have.Storage != jetstream.FileStorage || have.Retention != jetstream.LimitsPolicy {
		return nil, errors.New("the stream is not one of an inbox, and is left alone: name another one")
	}
	if want := e.wanted(have); !same(want, have) {
		if s, err = e.js.UpdateStream(ctx, want); err != nil {
			return nil, streamError(err)
		}
		have = s.CachedInfo().Config
	}
	if !have.AllowMsgTTL || have.MaxMsgsPerSubject != 1 || have.Discard != jetstream.DiscardNew {
		return nil, errors.New("the NATS server does not know messages that expire: version 2.11 or newer is needed")
	}
	return s, nil
}

// wanted is a configuration with what an inbox needs; the rest is the operator's.
func (e *Engine) wanted(c jetstream.StreamConfig) jetstream.StreamConfig {
	c.Name, c.Subjects = e.o.Stream, []string{e.o.Stream + ".>"}
	if c.Description == "" {
		c.Description = "verify_webhook: deliveries that are accepted and not yet delivered"
	}
	c.Retention, c.Storage, c.Discard = jetstream.LimitsPolicy, jetstream.FileStorage, jetstream.DiscardNew
	c.MaxMsgsPerSubject, c.MaxMsgs, c.MaxAge, c.MaxMsgSize = 1, -1, 0, -1
	c.MaxBytes = int64(marksShare*float64(e.o.MaxSize)) + marksRoom
	c.AllowMsgTTL = true
	c.AllowDirect = false // a follower may not have it yet
	c.Replicas = max(c.Replicas, 1)
	if e.o.Replicas > 0 {
		c.Replicas = e.o.Replicas
	}
	return c
}

func same(a, b jetstream.StreamConfig) bool {
	return slices.Equal(a.Subjects, b.Subjects) && a.Description == b.Description && a.Discard == b.Discard &&
		a.MaxMsgsPerSubject == b.MaxMsgsPerSubject && a.MaxMsgs == b.MaxMsgs && a.MaxAge == b.MaxAge &&
		a.MaxMsgSize == b.MaxMsgSize && a.MaxBytes == b.MaxBytes && a.AllowMsgTTL == b.AllowMsgTTL &&
		a.AllowDirect == b.AllowDirect && a.Replicas == b.Replicas
}

func streamError(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the NATS server does not answer for the stream: it may have no leader now")
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return errors.New("the NATS server has no JetStream, for this account at least, or no leader of it now")
	case errors.As(err, &api):
		return fmt.Errorf("the NATS server refuses the stream: %s", api.Description)
	}
	return fmt.Errorf("the stream cannot be opened: %w", err)
}

// warn tells of what keeps the promise only in part.
func (e *Engine) warn(c jetstream.StreamConfig) {
	if c.Replicas == 1 {
		e.log.Warn("the stream has one replica: if its machine loses power, what it acknowledged since its last sync is lost (2 minutes by default); set sync_interval: always in the server's jetstream block, or replicas 3")
	}
	if room := e.nc.MaxPayload() - bodyHeadroom; e.o.MaxBody > room {
		e.log.Warn("the NATS server's max_payload is too small for max_body: longer deliveries are not stored, and go to the app at once; raise max_payload in the server's configuration",
			"max_payload", e.nc.MaxPayload(), "max_body", e.o.MaxBody, "max_payload_needed", e.o.MaxBody+bodyHeadroom)
	}
}
