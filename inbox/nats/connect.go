package nats

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	retryPause = time.Second // before a failed request is repeated
	pingPause  = 5 * time.Second
	maxPings   = 2 // unanswered: the connection is lost
	idInStream = "verify_webhook_inbox"
	marksShare = 2.5      // of MaxSize, for deliveries, their headers and their marks
	marksRoom  = 64 << 20 // for the marks of removals, until they expire

	// The space of a message for everything but the body, mostly the request's headers.
	bodyHeadroom = 64 << 10
)

// run connects and reads the stream, repeatedly, until halt.
func (e *Engine) run() {
	for {
		err := e.connect()
		if err == nil {
			err = e.serve()
		}
		e.report(err)
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

// fail makes run stop reading the stream and start over.
func (e *Engine) fail(why error) {
	e.report(why)
	select {
	case e.broken <- why:
	default:
	}
}

// report records why nothing is stored, and logs it if the reason is new.
func (e *Engine) report(why error) {
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

// connect makes the first connection. From then on the library reconnects.
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
	o.ReconnectBufSize = -1 // nothing is sent late: its caller has given up by then
	o.PingInterval, o.MaxPingsOut, o.Timeout = pingPause, maxPings, e.o.patience
	o.DisconnectedErrCB = func(*nats.Conn, error) { e.fail(errLost) }
	o.ReconnectedCB = func(*nats.Conn) { signal(e.retry) }
	o.AsyncErrorCB = func(*nats.Conn, *nats.Subscription, error) {} // callers get their errors
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

// connectError describes an error without its URLs, which may hold a password.
func connectError(err error) error {
	if why := whyRefused(err); why != nil {
		return why
	}
	var url interface{ Timeout() bool }
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return errors.New("no NATS server answers")
	case errors.As(err, &url) && url.Timeout():
		return errors.New("the NATS server does not answer")
	}
	return errors.New("the connection to NATS fails: check the addresses, and whether the server demands TLS")
}

// whyRefused describes the error of a server that answers and refuses the connection, or is
// refused; nil: of another one. It has no ports, and so is the same at each retry.
func whyRefused(err error) error {
	var closed *net.OpError
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return errors.New("the certificate of the NATS server is not signed by a trusted authority: set ca to the file of its authority")
	case errors.As(err, &closed) && closed.Op == "remote error": // an alert of TLS
		return fmt.Errorf("the NATS server refuses the TLS handshake; if it verifies the certificates of its clients, check cert and key: %w", closed.Err)
	case errors.Is(err, nats.ErrTLS) && closed != nil:
		return errors.New("the NATS server closes the connection after the TLS handshake; if it verifies the certificates of its clients, set cert and key")
	case errors.Is(err, nats.ErrTLS):
		return fmt.Errorf("the TLS handshake with the NATS server fails: %w", err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return errors.New("the NATS server does not offer TLS")
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return errors.New("the NATS server refuses the credentials")
	}
	return nil
}

// open finds or creates the stream, and checks that it is one of an inbox.
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
		return nil, errors.New("the stream belongs to something else, and is left alone: name another one")
	}
	if want := e.wanted(have); !same(want, have) {
		if s, err = e.js.UpdateStream(ctx, want); err != nil {
			return nil, streamError(err)
		}
		have = s.CachedInfo().Config
	}
	if !have.AllowMsgTTL || have.MaxMsgsPerSubject != 1 || have.Discard != jetstream.DiscardNew {
		return nil, errors.New("the NATS server does not support messages that expire: it must be version 2.11 or later")
	}
	return s, nil
}

// wanted returns c with what an inbox needs. The rest is up to the operator.
func (e *Engine) wanted(c jetstream.StreamConfig) jetstream.StreamConfig {
	c.Name, c.Subjects = e.o.Stream, []string{e.o.Stream + ".>"}
	if c.Description == "" {
		c.Description = "verify_webhook: deliveries that are accepted and not yet delivered"
	}
	c.Retention, c.Storage, c.Discard = jetstream.LimitsPolicy, jetstream.FileStorage, jetstream.DiscardNew
	c.MaxMsgsPerSubject, c.MaxMsgs, c.MaxAge, c.MaxMsgSize = 1, -1, 0, -1
	e.mu.Lock()
	maxSize, replicas := e.o.MaxSize, e.o.Replicas
	e.mu.Unlock()
	c.MaxBytes = int64(marksShare*float64(maxSize)) + marksRoom
	c.AllowMsgTTL = true
	c.AllowDirect = false // a follower may lag behind
	c.Replicas = max(c.Replicas, 1)
	if replicas > 0 {
		c.Replicas = replicas
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
		return errors.New("the NATS server does not answer for the stream, which may have no leader now")
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return errors.New("the NATS server has no JetStream, at least not for this account, or its JetStream has no leader now")
	case errors.As(err, &api):
		return fmt.Errorf("the NATS server refuses the stream: %s", api.Description)
	}
	return fmt.Errorf("the stream cannot be opened: %w", err)
}

// warn logs what weakens the promise.
func (e *Engine) warn(c jetstream.StreamConfig) {
	if c.Replicas == 1 {
		e.log.Warn("the stream has one replica: if its machine loses power, what it acknowledged since its last sync is lost (2 minutes by default); set sync_interval: always in the server's jetstream block, or replicas 3")
	}
}
