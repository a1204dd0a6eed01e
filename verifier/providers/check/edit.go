package check

import (
	"bytes"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
)

// editSignature changes the text that holds the signature; false removes it.
func (a *alterer) editSignature(t *trial, f func(string) (string, bool)) (done bool) {
	s := a.Signature
	if s == nil {
		return false
	}
	switch {
	case s.Query != "":
		path, query, _ := strings.Cut(t.req.Target, "?")
		query, done = editField(query, s.Query, f)
		t.req.Target = path + "?" + query
	case s.Form != "" && (len(s.JSON) == 0 || t.isForm()):
		var body string
		body, done = editField(string(t.body), s.Form, f)
		t.body = []byte(body)
	case a.BodyForm == "":
		for _, path := range s.JSON {
			done = t.editMember(path, f) || done
		}
	}
	for _, name := range s.Header {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if len(t.req.Header[name]) == 0 {
			continue
		}
		done = true
		if value, keep := f(t.req.Header[name][0]); keep {
			t.req.Header[name] = []string{value}
		} else {
			delete(t.req.Header, name)
		}
	}
	return done
}

// editField changes a field of a form or query.
func editField(form, field string, f func(string) (string, bool)) (string, bool) {
	var pairs []string
	done := false
	for pair := range strings.SplitSeq(form, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil && plain == field {
			done = true
			text, _ := url.QueryUnescape(value)
			text, keep := f(text)
			if !keep {
				continue
			}
			pair = name + "=" + url.QueryEscape(text)
		}
		pairs = append(pairs, pair)
	}
	return strings.Join(pairs, "&"), done
}

// editMember changes the text of a JSON member, found by the last name of its path.
func (t *trial) editMember(path string, f func(string) (string, bool)) (done bool) {
	leaf := path[strings.LastIndexByte(path, '.')+1:]
	member := regexp.MustCompile(`"` + regexp.QuoteMeta(leaf) + `"(\s*:\s*)"([^"\\]*)"`)
	t.body = member.ReplaceAllFunc(t.body, func(match []byte) []byte {
		done = true
		parts := member.FindSubmatch(match)
		text, keep := f(string(parts[2]))
		if !keep {
			return bytes.Replace(match, []byte(leaf), []byte(leaf+"-gone"), 1)
		}
		return []byte(`"` + leaf + `"` + string(parts[1]) + `"` + text + `"`)
	})
	return done
}

func (t *trial) isForm() bool {
	return strings.HasPrefix(strings.Join(t.req.Header["Content-Type"], ""), "application/x-www-form-urlencoded")
}

// first returns the first of the headers that is present, which the scheme reads.
func (t *trial) first(names []string) (string, bool) {
	for _, name := range names {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if len(t.req.Header[name]) > 0 {
			return name, true
		}
	}
	return "", false
}

// remove reports whether any of the headers was there.
func (t *trial) remove(names []string) (done bool) {
	for _, name := range names {
		name = textproto.CanonicalMIMEHeaderKey(name)
		done = done || len(t.req.Header[name]) > 0
		delete(t.req.Header, name)
	}
	return done
}
