package caddymodule

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestBodyCopy: a copy is read once. Whatever reads it again gets an error, not an empty
// body or the rest of one.
func TestBodyCopy(t *testing.T) {
	all := func(c *bodyCopy) (string, error) {
		read, err := io.ReadAll(c)
		return string(read), err
	}
	for name, tc := range map[string]struct {
		before func(*bodyCopy)
		want   string
		err    error
		ended  bool // before it is read
	}{
		"unread":                {func(*bodyCopy) {}, "abcdef", nil, false},
		"closed, unread":        {func(c *bodyCopy) { c.Close() }, "abcdef", nil, false},
		"half":                  {func(c *bodyCopy) { _, _ = io.ReadFull(c, make([]byte, 3)) }, "def", nil, false},
		"half, closed":          {func(c *bodyCopy) { _, _ = io.ReadFull(c, make([]byte, 3)); c.Close() }, "", errBodyRead, true},
		"to its last byte":      {func(c *bodyCopy) { _, _ = io.ReadFull(c, make([]byte, 6)) }, "", nil, true},
		"to its end":            {func(c *bodyCopy) { _, _ = all(c) }, "", errBodyRead, true},
		"to its end and closed": {func(c *bodyCopy) { _, _ = all(c); c.Close() }, "", errBodyRead, true},
		"nobody reads it":       {func(c *bodyCopy) { c.end() }, "", errBodyRead, true},
	} {
		c := &bodyCopy{rest: []byte("abcdef")}
		tc.before(c)
		ended := c.ended()
		if got, err := all(c); got != tc.want || !errors.Is(err, tc.err) || ended != tc.ended {
			t.Errorf("%s: read %q, %v; ended %t", name, got, err, ended)
		}
	}
}

// TestCopiesAreIndependent: each has the whole body, and a buffer is reused only once no
// copy can be read any more.
func TestCopiesAreIndependent(t *testing.T) {
	text := strings.Repeat("x", 2*smallBody)
	d := &delivery{h: new(Handler), r: post(), body: []byte(text), buffer: &buffer{size: &spares[0]}}
	d.arrived()
	first, second, third := d.forApp(t.Context()), d.forApp(t.Context()), post()
	d.giveTo(third)
	_, _ = io.ReadFull(first.Body, make([]byte, 100))
	for _, r := range []io.Reader{second.Body, third.Body, d.r.Body} {
		d.reuse()
		if read, err := io.ReadAll(r); string(read) != text || err != nil {
			t.Errorf("read %d bytes, %v", len(read), err)
		}
	}
	if d.reuse(); d.body == nil {
		t.Error("the buffer is reused while a transport reads the body")
	}
	first.Body.Close()
	if d.reuse(); d.body != nil || d.whole {
		t.Error("the buffer is not reused")
	}
	if third.ContentLength != int64(len(text)) || third.Header.Get("Content-Length") != "32768" {
		t.Errorf("lengths %d, %q", third.ContentLength, third.Header.Get("Content-Length"))
	}
}
