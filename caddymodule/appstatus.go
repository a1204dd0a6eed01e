package caddymodule

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap/zapcore"
)

// An appStatus is the status of the app's response. An app may end with one that no
// final response has, such as an exit code over FastCGI, and Caddy passes it on. It
// counts as 502: net/http panics at some, and sends others as informational, with a 200
// for the body that follows.
type appStatus struct {
	status int  // 0 until the app has answered
	said   int  // by the app, if status replaces it
	unfit  bool // status replaces it
	hinted int  // the last informational status
}

// set records a status, and reports whether it is informational.
func (s *appStatus) set(status int, header http.Header) (informational bool) {
	switch {
	case s.status != 0:
	case status >= 200 && status <= 999:
		s.status = status
	case status >= 100 && status <= 199 && !endsWith(status, header):
		s.hinted = status
		return true
	default:
		s.replace(status)
	}
	return false
}

// begin sets the status of a response whose body begins. One without any is a 200, but
// encode leaves out a 0.
func (s *appStatus) begin(header http.Header) {
	switch {
	case s.status != 0:
	case s.hinted != 0: // and no final one
		s.replace(s.hinted)
	case endsWith(0, header):
		s.replace(0)
	default:
		s.status = http.StatusOK
	}
}

func (s *appStatus) replace(status int) {
	s.status, s.said, s.unfit = http.StatusBadGateway, status, true
}

// endsWith reports whether a FastCGI app has ended with this status: Caddy leaves the
// line in the header (RFC 3875 §6.3.3).
func endsWith(status int, header http.Header) bool {
	line := header["Status"]
	if len(line) == 0 {
		return false
	}
	text, _, _ := strings.Cut(line[0], " ")
	said, err := strconv.Atoi(text)
	return err == nil && said == status
}

// warnUnfit logs a status of the app that is replaced.
func (d *delivery) warnUnfit(s *appStatus) {
	if s.unfit {
		d.log(&d.h.failures, zapcore.WarnLevel, "the app answered with an invalid status: it counts as 502", "status_5xx", fmt.Errorf("status %d", s.said))
	}
}
