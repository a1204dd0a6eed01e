package caddymodule

import "net/http"

// maxHeld limits the part of a response that is held until the delivery is settled.
const maxHeld = 64 << 10

// A heldResponse holds the app's response until the delivery is settled, so that the
// mark precedes the first byte: once a sender reads a 2xx, no later copy is
// forwarded. A response over 64 KiB is settled when that much has arrived, and passed
// on as it comes.
type heldResponse struct {
	http.ResponseWriter
	settle func(status int) // called once, before the first byte goes to the sender

	appStatus
	body    []byte
	passing bool
}

// Unwrap lets http.ResponseController reach the connection.
func (w *heldResponse) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Status returns the status of the answer, 0 if there is none.
func (w *heldResponse) Status() int { return w.status }

// WriteHeader records the final status. Informational responses pass at once: they
// promise nothing.
func (w *heldResponse) WriteHeader(status int) {
	switch {
	case w.status != 0:
		return
	case status == http.StatusSwitchingProtocols: // final, and the connection's
		w.status = status
	case w.set(status, w.Header()):
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.passing {
		w.ResponseWriter.WriteHeader(w.status)
	}
}

// begin ends the status line of a response whose body begins.
func (w *heldResponse) begin() {
	if w.status != 0 {
		return
	}
	w.appStatus.begin(w.Header())
	if w.passing {
		w.ResponseWriter.WriteHeader(w.status)
	}
}

func (w *heldResponse) Write(p []byte) (int, error) {
	w.begin()
	if !w.passing {
		if len(w.body)+len(p) <= maxHeld {
			w.body = append(w.body, p...)
			return len(p), nil
		}
		w.pass()
	}
	return w.ResponseWriter.Write(p)
}

// FlushError does nothing while the response is held: an early flush must not answer
// before the delivery is settled.
func (w *heldResponse) FlushError() error {
	if !w.passing || w.status == 0 && w.hinted != 0 { // which net/http has flushed
		return nil
	}
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// pass settles the delivery and sends what was held.
func (w *heldResponse) pass() {
	w.passing = true
	w.settle(w.status)
	w.ResponseWriter.WriteHeader(w.status)
	_, _ = w.ResponseWriter.Write(w.body) // a sender that is gone does not matter
	w.body = nil
}

// finish passes a response that fitted.
func (w *heldResponse) finish() {
	if !w.passing {
		w.pass()
	}
}

// discard drops a held response, to be replaced by another. Its framing must go too:
// the sender would wait for bytes that never come.
func (w *heldResponse) discard() {
	if !w.passing {
		w.Header().Del("Content-Length")
		w.Header().Del("Content-Encoding")
	}
}
