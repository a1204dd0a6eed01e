package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/page"
	"github.com/verify-webhook/caddy-verify-webhook/internal/wrap"
)

// A reporter prints the observations of a recorder and saves the requests.
type reporter struct {
	recorder *recorder
	subjects []*subject
	out      io.Writer
	colour   bool
	json     bool
	folder   string          // "" saves nothing
	saved    atomic.Int64    // bytes
	to       *url.URL        // the app's; nil without one
	page     *page.Inspector // nil without one
}

// The colours of a verdict (ECMA-48 §8.3.117).
const (
	green  = "32"
	yellow = "33"
	red    = "31"
)

func (p *reporter) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// mayColour reports whether w is a terminal and colours are not disabled
// (https://no-color.org).
func mayColour(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// run prints observations, outside the requests' path, until ctx ends.
func (p *reporter) run(ctx context.Context) {
	for {
		select {
		case e := <-p.recorder.seen:
			p.show(ctx, e)
		case <-ctx.Done():
			return
		}
	}
}

// rest prints the remaining observations.
func (p *reporter) rest(ctx context.Context) {
	for {
		select {
		case e := <-p.recorder.seen:
			p.show(ctx, e)
		default:
			return
		}
	}
}

// A report is an observation in words: a line of listen --json.
type report struct {
	Time       time.Time `json:"time"`
	Sender     string    `json:"sender,omitempty"` // the handler's name
	Method     string    `json:"method"`
	Path       string    `json:"path"`            // with the query
	Bytes      int64     `json:"bytes"`           // of the body that arrived
	Event      string    `json:"event,omitempty"` // as the sender names it
	Outcome    string    `json:"outcome"`         // genuine, duplicate, handshake, a reason, refused
	Status     int       `json:"status"`
	Seconds    float64   `json:"seconds"`
	Key        string    `json:"key,omitempty"`
	DeliveryID string    `json:"delivery_id,omitempty"`
	Meaning    string    `json:"meaning"`
	Hint       string    `json:"hint,omitempty"`
	Saved      string    `json:"saved,omitempty"`
	NotSaved   string    `json:"not_saved,omitempty"`

	colour string
}

// report says what is known of an observation, with nothing secret in it, and saves it.
func (p *reporter) report(ctx context.Context, e *observation) *report {
	s := p.sender(e.name)
	e.id = p.redact(e.id)
	r := &report{
		Time: e.at, Sender: e.name, Method: e.request.Method, Path: p.redact(e.request.Target), Bytes: e.bytes,
		Outcome: e.word(), Status: e.status, Seconds: e.took.Seconds(), Key: e.key, DeliveryID: e.id,
	}
	r.colour, r.Meaning = p.verdict(e)
	if s != nil {
		r.Event = p.redact(s.eventIn(e))
	}
	switch {
	case s == nil || e.rejection == nil:
	case e.cut != "":
		r.Hint = fmt.Sprintf("only the first %d bytes of the body are kept here, too few for a hint, because %s", len(e.request.Body), e.cut)
	default:
		hint := s.explain(context.WithoutCancel(ctx), e.request, e.at, e.rejection, false)
		r.Hint = cmp.Or(hint, unexplained(string(e.rejection.Reason)))
	}
	if p.folder != "" {
		path, err := p.save(e, p.folder)
		if r.Saved = path; err != nil {
			r.Saved, r.NotSaved = "", err.Error()
		}
	}
	return r
}

// sender returns the subject of a name, nil for none.
func (p *reporter) sender(name string) *subject {
	for _, s := range p.subjects {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// maxEvent limits an event that is shown, and maxEventBody a body that is searched for one,
// in bytes: anyone can write one, and JSON takes many times its length in memory.
const (
	maxEvent     = 128
	maxEventBody = 1 << 20
)

// eventIn returns the event that a request names, genuine or not.
func (s *subject) eventIn(e *observation) string {
	text := e.event
	if s.Provider != nil {
		for _, header := range s.Provider.EventHeader {
			text = cmp.Or(text, e.request.Header.Get(header))
		}
	}
	if len(e.request.Body) <= maxEventBody {
		text = cmp.Or(text, eventMember(jsonObject(string(e.request.Body))))
	}
	return strings.ToValidUTF8(text[:min(len(text), maxEvent)], "")
}

func (p *reporter) show(ctx context.Context, e *observation) {
	defer p.recorder.forget(e)
	r := p.report(ctx, e)
	if p.page != nil {
		p.page.Add(p.inspected(e, r))
	}
	if p.json {
		_ = writeJSON(p.out, r, "")
		return
	}
	line := e.at.Format("15:04:05")
	if len(p.subjects) > 1 && r.Sender != "" {
		line += " " + printable(r.Sender) + ":"
	}
	line += fmt.Sprintf(" %s %s, %d bytes", printable(r.Method), printable(r.Path), r.Bytes)
	if r.Event != "" {
		line += ", " + printable(r.Event)
	}
	const indent = "         "
	meaning := strings.TrimSuffix(wrap.Text(r.Meaning, indent, indent), "\n")
	fmt.Fprintf(p.out, "%s, %s\n%s\n", line, e.took.Round(time.Millisecond), p.paint(r.colour, meaning))
	for _, more := range [][2]string{{"hint", r.Hint}, {"not saved", r.NotSaved}} {
		if more[1] != "" {
			_, _ = io.WriteString(p.out, wrap.Text(more[0]+": "+printable(more[1]), indent, indent))
		}
	}
	if r.Saved != "" { // whole, to be copied
		fmt.Fprintf(p.out, "%ssaved: %s\n", indent, printable(r.Saved))
	}
}

// maxSaved limits the files of one listen, each of which counts savedHeader more than
// its body.
const (
	maxSaved    = 1 << 30
	savedHeader = 4 << 10
)

// save writes a request to a file of a folder, with mode 0600.
func (p *reporter) save(e *observation, folder string) (path string, err error) {
	if e.cut != "" {
		return "", errors.New("the body was not kept: " + e.cut)
	}
	if p.saved.Add(int64(len(e.request.Body))+savedHeader) > maxSaved {
		return "", errors.New("1 GiB is saved: empty the folder and start again")
	}
	path = filepath.Join(folder, e.at.UTC().Format("20060102T150405.000000000Z")+"-"+e.word()+".http")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	err = e.request.Write(file, true)
	if closing := file.Close(); err == nil {
		err = closing
	}
	return path, errors.Join(err, os.Chtimes(path, time.Time{}, e.at)) // read by --now file
}

// verdict returns the outcome of a request in one line.
func (p *reporter) verdict(e *observation) (colour, text string) {
	colour, text = p.outcome(e)
	if n := p.recorder.missed.Swap(0); n > 0 {
		text += fmt.Sprintf(" (%d more requests arrived too fast to be shown)", n)
	}
	return colour, text
}

func (p *reporter) outcome(e *observation) (colour, text string) {
	switch {
	case e.name == "" && e.err == nil:
		return red, fmt.Sprintf("no sender has this path, %d: the senders are %s", e.status, strings.Join(p.served(), ", "))
	case e.handshake:
		return yellow, fmt.Sprintf("handshake: answered %d", e.status)
	case e.duplicate:
		return yellow, fmt.Sprintf("duplicate: answered %d, already accepted by the app%s", e.status, e.particulars())
	case e.verified && e.err != nil && e.status == http.StatusServiceUnavailable:
		return yellow, fmt.Sprintf("genuine, but not now: %v%s", e.err, e.particulars())
	case e.verified && e.err != nil:
		return yellow, fmt.Sprintf("genuine, but no answer from the app, %d: %s%s", e.status, printable(e.err.Error()), e.particulars())
	case e.verified && p.to == nil:
		return green, fmt.Sprintf("genuine: answered %d%s", e.status, e.particulars())
	case e.verified:
		return green, fmt.Sprintf("genuine: the app answered %d%s", e.status, e.particulars())
	case e.err == nil:
		return red, fmt.Sprintf("not genuine, forwarded (observe): %s: the app answered %d", e.reason, e.status)
	case e.rejection != nil:
		return red, fmt.Sprintf("refused, %d: %s: %s", e.status, e.rejection.Reason, printable(e.rejection.Detail))
	}
	return red, fmt.Sprintf("refused, %d: %s", e.status, printable(e.err.Error()))
}

// names are those of all senders.
func (p *reporter) names() (all []string) {
	for _, s := range p.subjects {
		all = append(all, s.Name)
	}
	return all
}

// served is what the gateway serves: a sender, or the paths of several.
func (p *reporter) served() []string {
	all := p.names()
	for i := range all {
		if len(all) > 1 {
			all[i] = "/" + all[i]
		}
	}
	return all
}

func (e *observation) particulars() string {
	text := ", key " + printable(e.key)
	if e.id != "" {
		text += ", delivery id " + printable(e.id)
	}
	return text
}

// word returns the verdict for a file's name.
func (e *observation) word() string {
	switch {
	case e.name == "" && e.err == nil:
		return "no_sender"
	case e.handshake:
		return "handshake"
	case e.duplicate:
		return "duplicate"
	case e.verified:
		return "genuine"
	case e.reason != "":
		return e.reason
	}
	return "refused"
}
