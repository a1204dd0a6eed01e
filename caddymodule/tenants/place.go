package tenants

import (
	"errors"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// A Place is where a request names its tenant.
type Place struct {
	// Segment is the position of the segment in the path from 0, if Path is set.
	Segment int
	Path    bool
	// Label is the position of the label in the host, from the right and from 0, if Host
	// is set.
	Label int
	Host  bool
	// Header is the name of the header, in canonical form; "" otherwise.
	Header string
}

// errPlace refuses any other placeholder.
var errPlace = errors.New("tenant: write where the request names it: a segment of the path ({path.2}), a label of the host ({labels.3}, counted from the right) or a header ({header.X-Account}); never the body, which is not verified before the keys are known")

// Placeholders of Caddy, as its Caddyfile adapter writes {path.N}, {labels.N} and
// {header.NAME}.
const (
	pathPlaceholder   = "{http.request.uri.path."
	labelPlaceholder  = "{http.request.host.labels."
	headerPlaceholder = "{http.request.header."
)

// ParsePlace reads one placeholder of Caddy.
func ParsePlace(placeholder string) (Place, error) {
	text, ok := strings.CutSuffix(placeholder, "}")
	if !ok {
		return Place{}, errPlace
	}
	if n, ok := strings.CutPrefix(text, pathPlaceholder); ok {
		i, err := position(n)
		return Place{Segment: i, Path: true}, err
	}
	if n, ok := strings.CutPrefix(text, labelPlaceholder); ok {
		i, err := position(n)
		return Place{Label: i, Host: true}, err
	}
	if name, ok := strings.CutPrefix(text, headerPlaceholder); ok && isToken(name) {
		return Place{Header: textproto.CanonicalMIMEHeaderKey(name)}, nil
	}
	return Place{}, errPlace
}

// maxPosition limits a position, which is a small number in any URL.
const maxPosition = 99

func position(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxPosition || strconv.Itoa(n) != text {
		return 0, errPlace
	}
	return n, nil
}

// isToken reports whether text can be the name of a header.
func isToken(text string) bool {
	return text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// In returns what the request has in the place, "" for nothing or for several headers.
// It counts as Caddy's placeholders do. It is not yet a name.
func (p Place) In(r *http.Request) string {
	switch {
	case p.Path:
		return segment(r.URL.Path, p.Segment)
	case p.Host:
		return label(r.Host, p.Label)
	}
	if lines := r.Header[p.Header]; len(lines) == 1 {
		return lines[0]
	}
	return ""
}

func segment(path string, n int) string {
	rest := strings.TrimPrefix(path, "/")
	for range n {
		_, after, ok := strings.Cut(rest, "/")
		if !ok {
			return ""
		}
		rest = after
	}
	found, _, _ := strings.Cut(rest, "/")
	return found
}

func label(host string, n int) string {
	if strings.IndexByte(host, ':') >= 0 {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
	}
	host = strings.TrimSuffix(host, ".")
	for range n {
		i := strings.LastIndexByte(host, '.')
		if i < 0 {
			return ""
		}
		host = host[:i]
	}
	return host[strings.LastIndexByte(host, '.')+1:]
}
