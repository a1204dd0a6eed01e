package command

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// An event is what --event chose: the sender's header for it, and a body of the
// catalogue's.
type event struct {
	header, value string         // "": the sender names events in the body
	body          map[string]any // nil: the catalogue has none
}

// eventMembers are the members of a JSON body in which senders name the event.
var eventMembers = []string{"type", "event", "event_type", "eventType", "Type", "topic", "action"}

// eventOf finds an event of the sender's. given is set for a body that stays as it is.
func (s *subject) eventOf(name string, given bool) (*event, error) {
	if s.Provider == nil {
		return nil, errors.New("--event: the catalogue does not know this sender: add its header with -H, or the body with --body-file")
	}
	e, known := new(event), make(map[string]map[string]any)
	if headers := s.Provider.EventHeader; len(headers) > 0 {
		e.header, e.value = headers[0], name
	}
	for _, v := range slices.Backward(s.Provider.Vectors) { // the first of a name counts
		body := jsonObject(v.Body)
		if v.Expect != providers.Genuine {
			continue
		}
		if header, value := eventHeader(s.Provider, v); value != "" {
			e.header = header
			if body != nil {
				known[value] = body
			}
		} else if value := eventMember(body); value != "" {
			known[value] = body
		}
	}
	if !given {
		e.body = known[name]
	}
	if e.header != "" || e.body != nil {
		return e, nil
	}
	if given {
		return nil, errors.New("--event: this sender names the event in the body, and yours stays as it is: omit --event")
	}
	text := "--event: this sender names the event in the body, and the catalogue has no example"
	if names := slices.Sorted(maps.Keys(known)); len(names) > 0 {
		text = fmt.Sprintf("--event: no example of this event; the catalogue has %s", strings.Join(names, ", "))
	}
	return nil, errors.New(text + ": write the body yourself, with --body-file")
}

// eventHeader returns the first of the sender's event headers that a vector has.
func eventHeader(p *providers.Provider, v providers.Vector) (header, value string) {
	for _, header := range p.EventHeader {
		for name, value := range v.Headers {
			if strings.EqualFold(name, header) {
				return header, value
			}
		}
	}
	return "", ""
}

// eventMember returns the event that a body names.
func eventMember(body map[string]any) (name string) {
	for _, member := range eventMembers {
		text, _ := body[member].(string)
		name = cmp.Or(name, text)
	}
	return name
}

// jsonObject parses an object and keeps the form of its numbers; nil if it is none.
func jsonObject(text string) (object map[string]any) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if d.Decode(&object) != nil {
		return nil
	}
	return object
}

// apply makes the request one of the event's.
func (e *event) apply(header http.Header) {
	if e.header != "" {
		header.Set(e.header, e.value)
	}
}
