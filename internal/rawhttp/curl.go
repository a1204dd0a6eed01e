package rawhttp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
)

// isCurl reports whether a text is a command of a shell and not a request, whose method
// may be any token (RFC 9110 §9.1), and so "curl" too.
func isCurl(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte("$ "))
	first, _, _ := bytes.Cut(text, []byte("\n"))
	if words := bytes.Fields(first); len(words) == 3 && bytes.HasPrefix(words[2], []byte("HTTP/")) {
		return false
	}
	return bytes.HasPrefix(text, []byte("curl ")) || bytes.HasPrefix(text, []byte("printf ")) && bytes.Contains(first, []byte(" | base64 -d |"))
}

// A curlCommand is what a command line says about its request.
type curlCommand struct {
	r       *Request
	hasBody bool    // the caller has it
	stdin   *[]byte // nil: not in the text
	data    [][]byte
	form    bool // the data has curl's own Content-Type
	url     string
}

// parseCurl reads the command line of curl, as browsers, tunnels and inspectors copy it
// and as "caddy webhook sign --format curl" prints it. No file that it names is opened.
func parseCurl(text []byte, hasBody bool) (*Request, error) {
	words, err := shellWords(string(bytes.TrimPrefix(text, []byte("$ "))))
	if err != nil {
		return nil, err
	}
	c := &curlCommand{r: &Request{Header: make(http.Header)}, hasBody: hasBody}
	if words, err = c.input(words); err != nil {
		return nil, err
	}
	for i := 1; i < len(words); {
		used, err := c.word(words[i:])
		if err != nil {
			return nil, fmt.Errorf("curl, word %d: %w", i+1, err)
		}
		i += used
	}
	return c.request()
}

// input reads the body that "sign --format curl" pipes into curl.
func (c *curlCommand) input(words []string) ([]string, error) {
	if words[0] == "curl" {
		return words, nil
	}
	if len(words) < 8 || !slices.Equal(words[3:7], []string{pipe, "base64", "-d", pipe}) || words[1] != "%s" || words[7] != "curl" {
		return nil, errors.New("not the command of caddy webhook sign --format curl: keep the part that begins with curl, and pass the body with --body-file")
	}
	body, err := base64.StdEncoding.DecodeString(words[2])
	if err != nil {
		return nil, errors.New("the body before base64 -d is not base64: copy the command again")
	}
	c.stdin = &body
	return words[7:], nil
}

// The options of curl that change the request, those that do not, and among these the
// ones with a value (https://curl.se/docs/manpage.html).
var (
	curlNames = map[string]string{
		"-X": "--request", "-H": "--header", "-d": "--data", "--data-ascii": "--data", "-A": "--user-agent", "-e": "--referer",
		"-b": "--cookie", "-u": "--user", "-F": "--form", "-G": "--get", "-T": "--upload-file", "-I": "--head",
	}
	curlValues = []string{"--request", "--header", "--data", "--data-raw", "--data-binary", "--json", "--user-agent", "--referer", "--cookie", "--user", "--url"}
	curlOther  = []string{"--form", "--form-string", "--get", "--upload-file", "--data-urlencode", "--url-query"}
	curlQuiet  = []string{
		"--silent", "--show-error", "--include", "--insecure", "--location", "--verbose", "--compressed", "--globoff", "--path-as-is", "--fail",
		"--fail-with-body", "--no-buffer", "--no-progress-meter", "--progress-bar", "--http1.0", "--http1.1", "--http2", "--http3", "--ipv4", "--ipv6",
	}
	curlAside = []string{
		"-o", "--output", "-m", "--max-time", "--connect-timeout", "--retry", "-w", "--write-out", "--resolve", "--connect-to", "--cacert",
		"-x", "--proxy", "-D", "--dump-header", "-c", "--cookie-jar", "-E", "--cert", "--key", "--interface",
	}
)

// word reads an option with its value, or the URL.
func (c *curlCommand) word(words []string) (used int, err error) {
	name := words[0]
	switch {
	case name == pipe:
		return 0, errors.New("a | after curl: keep the command up to it")
	case !strings.HasPrefix(name, "-"):
		if c.url != "" {
			return 0, errors.New("a second URL: keep one, and quote what has spaces")
		}
		c.url = name
		return 1, nil
	case name[1:] == "" || name[1] != '-':
		return c.short(name[1:], words[1:])
	}
	return c.long(name, words)
}

// short reads options of one letter, such as -sSXPOST.
func (c *curlCommand) short(letters string, words []string) (used int, err error) {
	letters = strings.TrimLeft(letters, "sSikLvgfN#0123456")
	if letters == "" {
		return 1, nil
	}
	name, value := "-"+letters[:1], letters[1:]
	if long, ok := curlNames[name]; ok {
		name = long
	}
	if value == "" {
		return c.long(name, append([]string{name}, words...))
	}
	_, err = c.long(name, []string{name, value})
	return 1, err
}

func (c *curlCommand) long(name string, words []string) (used int, err error) {
	switch {
	case slices.Contains(curlQuiet, name):
		return 1, nil
	case slices.Contains(curlOther, name):
		return 0, errors.New("curl makes the body or the query itself: save the request as it was sent, or remove this option and pass the body with --body-file")
	case len(words) < 2:
		return 0, errors.New("an option without its value: copy the whole command")
	case slices.Contains(curlAside, name):
		return 2, nil
	case slices.Contains(curlValues, name):
		return 2, c.option(name, words[1])
	}
	return 0, errors.New("an option that is not known here: remove it if it does not change the request")
}

// option reads one that changes the request.
func (c *curlCommand) option(name, value string) error {
	switch name {
	case "--request":
		if !httptoken.Valid(value) {
			return errors.New("not a method")
		}
		c.r.Method = value
	case "--url":
		c.url = value
	case "--header":
		return c.header(value)
	case "--user-agent":
		return c.r.AddHeader("User-Agent", value)
	case "--referer":
		return c.r.AddHeader("Referer", value)
	case "--cookie":
		if value != "" && !strings.Contains(value, "=") {
			return errors.New("a file of cookies, which is not read: write them as name=value")
		}
		return c.r.AddHeader("Cookie", value)
	case "--user":
		return c.r.AddHeader("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(value)))
	default:
		return c.body(name, value)
	}
	return nil
}

// header reads a header: "Name:" removes one of curl's, "Name;" sends an empty one.
func (c *curlCommand) header(line string) error {
	if strings.HasPrefix(line, "@") {
		return errors.New("a file of headers, which is not read: write them as 'Name: value'")
	}
	if empty, ok := strings.CutSuffix(line, ";"); ok && !strings.Contains(line, ":") {
		return c.r.AddHeader(empty, "")
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return errors.New("a header without a colon: write 'Name: value'")
	}
	if strings.TrimSpace(value) == "" {
		return nil
	}
	return c.r.AddHeader(name, value)
}

// body reads a piece of the body. curl takes line breaks out of a file, but not with
// --data-binary, and --data-raw knows no files.
func (c *curlCommand) body(option, value string) error {
	data := []byte(value)
	if file, ok := strings.CutPrefix(value, "@"); ok && option != "--data-raw" {
		switch {
		case file == "-" && c.stdin != nil:
			data = *c.stdin
		case c.hasBody:
			data = nil
		case file == "-":
			return errors.New("the body is curl's standard input: pass it with --body-file")
		default:
			return errors.New("the body is in a file, which is not read for a command that somebody else may have written: pass it with --body-file, or write the body in place of its name")
		}
		if option == "--data" {
			data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r"), nil), []byte("\n"), nil)
		}
	}
	c.form = c.form || option != "--json"
	if option == "--json" && c.r.Header.Get("Content-Type") == "" {
		c.r.Header.Set("Content-Type", "application/json")
	}
	if option == "--json" && len(c.data) > 0 { // curl joins these without &
		c.data[len(c.data)-1] = slices.Concat(c.data[len(c.data)-1], data)
		return nil
	}
	c.data = append(c.data, data)
	return nil
}

// request returns what curl would send.
func (c *curlCommand) request() (*Request, error) {
	if c.url == "" {
		return nil, errors.New("curl without a URL: copy the whole command")
	}
	if !strings.Contains(c.url, "://") {
		c.url = "http://" + c.url
	}
	host := c.r.Host
	if err := c.r.SetURL(c.url); err != nil {
		return nil, fmt.Errorf("curl: %w", err)
	}
	if host != "" {
		c.r.Host = host
	}
	if len(c.data) > 0 {
		c.r.Body = bytes.Join(c.data, []byte("&"))
	}
	if c.form && c.r.Header.Get("Content-Type") == "" {
		c.r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	switch {
	case c.r.Method != "":
	case c.data != nil:
		c.r.Method = http.MethodPost
	default:
		c.r.Method = http.MethodGet
	}
	c.r.Header.Del("Content-Length")
	c.r.Header.Del("Transfer-Encoding")
	return c.r, nil
}
