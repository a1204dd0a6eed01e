package caddymodule

import "net/http"

// maxHeld is how much of an answer is held back until the delivery is settled.
const maxHeld = 64 << 10

// A heldResponse keeps the app's answer from the sender until the delivery is
// settled, so that the mark precedes the first byte: a sender that reads a 2xx
// never has its next copy forwarded. What is longer than 64 KiB is settled when
// that much has come, and passed on as it comes.
type heldResponse struct {
	http.ResponseWriter
	settle func(status int) // called once, before the first byte goes to the sender

	status  int // 0 until the app has answered
	body    []byte
	passing bool
}

// Unwrap lets http.ResponseController reach the connection, for what this type
// does not do itself.
func (w *heldResponse) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the final status. Informational responses pass at once: they
// promise nothing.
func (w *heldResponse) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	w.status = status
	if w.passing {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *heldResponse) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if !w.passing {
		if len(w.body)+len(p) <= maxHeld {
			w.body = append(w.body, p...)
			return len(p), nil
		}
		w.pass()
	}
	return w.ResponseWriter.Write(p)
}

// FlushError does nothing while the answer is held: an app that flushes early
// does not thereby answer before its delivery is settled.
func (w *heldResponse) FlushError() error {
	if !w.passing {
		return nil
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// pass settles the delivery and sends what was held.
func (w *heldResponse) pass() {
	w.passing = true
	w.settle(w.status)
	w.ResponseWriter.WriteHeader(w.status)
	_, _ = w.ResponseWriter.Write(w.body) // a sender that is gone changes nothing any more
	w.body = nil
}

// finish passes an answer that fitted.
func (w *heldResponse) finish() {
	if !w.passing {
		w.pass()
	}
}

// discard drops an answer that is held, for another in its place. Its framing
// must not stay behind: the sender would wait for bytes that never come.
func (w *heldResponse) discard() {
	if !w.passing {
		w.Header().Del("Content-Length")
		w.Header().Del("Content-Encoding")
	}
}
