package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// A reporter prints the observations of a recorder and saves the requests.
type reporter struct {
	recorder *recorder
	subject  *subject
	out      io.Writer
	colour   bool
	folder   string // "" saves nothing
	saved    int64  // bytes
	alone    bool   // no app behind the gateway
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

func (p *reporter) show(ctx context.Context, e *observation) {
	defer p.recorder.forget(e)
	e.id = p.subject.verifier.Redact(e.id)
	colour, verdict := p.verdict(e)
	fmt.Fprintf(p.out, "%s %s\n", e.at.Format("15:04:05"), p.paint(colour, verdict))
	if e.rejection != nil {
		hint := p.subject.explain(context.WithoutCancel(ctx), e.request, e.at, e.rejection, false)
		if hint = cmp.Or(hint, unexplained(string(e.rejection.Reason))); hint != "" {
			fmt.Fprintf(p.out, "         hint: %s\n", printable(hint))
		}
	}
	if p.folder == "" {
		return
	}
	path, err := p.save(e)
	if err != nil {
		fmt.Fprintf(p.out, "         not saved: %v\n", err)
		return
	}
	fmt.Fprintf(p.out, "         saved: %s\n", path)
}

// maxSaved limits the files of one listen, each of which counts savedHeader more than
// its body.
const (
	maxSaved    = 1 << 30
	savedHeader = 4 << 10
)

// save writes a request to a file with mode 0600.
func (p *reporter) save(e *observation) (path string, err error) {
	if e.cut {
		return "", errors.New("the body is larger than max_body, or too many arrive at once")
	}
	if p.saved += int64(len(e.request.Body)) + savedHeader; p.saved > maxSaved {
		return "", errors.New("1 GiB is saved: empty the folder and start again")
	}
	path = filepath.Join(p.folder, e.at.UTC().Format("20060102T150405.000000000Z")+"-"+e.word()+".http")
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
	case e.handshake:
		return yellow, fmt.Sprintf("handshake: answered %d", e.status)
	case e.duplicate:
		return yellow, fmt.Sprintf("duplicate: answered %d, already accepted by the app%s", e.status, e.particulars())
	case e.verified && e.err != nil && e.status == http.StatusServiceUnavailable:
		return yellow, fmt.Sprintf("genuine, but not now: %v%s", e.err, e.particulars())
	case e.verified && e.err != nil:
		return yellow, fmt.Sprintf("genuine, but no answer from the app, %d: %s%s", e.status, printable(e.err.Error()), e.particulars())
	case e.verified && p.alone:
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
