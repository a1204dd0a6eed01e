package rejected

import (
	"slices"
	"strings"
)

// A limit says how much is shown of a target.
type limit struct{ bytes, params int }

// whole is the limit of a target that is shown by itself.
var whole = limit{16 << 10, 1024}

// listed is that of a target in a list. The targets of a list share some 256 KiB: the more
// there are, the less is shown of each, so that none uses up what others need.
func listed(requests int) limit {
	return limit{min(max(256<<10/max(requests, 1), 256), 2<<10), 64}
}

// maxOverlap limits how far a text is searched beyond what is shown of it.
const maxOverlap = 4 << 10

// more is shown in the place of what a limit leaves out.
const more = "…"

// target returns path and query as they may be shown.
func (r redaction) target(target string) string {
	shown, ok := r.targets[target]
	if !ok {
		shown = r.newTarget(target)
		r.targets[target] = shown
	}
	return shown
}

// newTarget shows of a long target its path and the parameters that the limit allows,
// each whole or not at all, and searches for keys beyond them: one that is cut in two
// would not be recognized by its half.
func (r redaction) newTarget(target string) string {
	window := target
	if len(target) > r.limit.bytes {
		overlap := 3 * r.needles.longest // a key that contains & or ? may have its other characters escaped
		if overlap > maxOverlap {
			return "/" + more
		}
		window = target[:min(len(target), r.limit.bytes+overlap)]
	}
	path, query, hasQuery := strings.Cut(target, "?")
	if len(path) > r.limit.bytes {
		return "/" + more
	}
	parts, rest := []string{path}, false
	if hasQuery {
		room := r.limit.bytes - len(path)
		for i, param := range strings.SplitN(query, "&", r.limit.params+1) {
			if room -= len("&") + len(param); room < 0 || i == r.limit.params {
				rest = true
				break
			}
			parts = append(parts, param)
		}
	}
	if r.holds(window, unescape(window, true)) {
		if parts = r.hideIn(parts, window); parts == nil {
			return "/" + redacted
		}
	}
	for i := range parts[1:] {
		parts[i+1] = r.param(parts[i+1])
	}
	if rest {
		parts = append(parts, more)
	}
	return join(parts)
}

// hideIn redacts each part with a key in it; nil if there is still one, in several parts
// together. window begins with them.
func (r redaction) hideIn(parts []string, window string) []string {
	length := len(strings.Join(parts, "&"))
	hidden := slices.Clone(parts)
	for i, part := range parts {
		if !r.holds(part, unescape(part, true)) {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		switch {
		case i == 0:
			hidden[i] = "/" + redacted
		case r.holds(value, unescape(value, true)) && !r.holds(name, unescape(name, true)):
			hidden[i] = name + "=" + redacted
		default:
			hidden[i] = redacted + "=" + redacted
		}
	}
	if all := join(hidden) + window[length:]; r.holds(all, unescape(all, true)) {
		return nil
	}
	return hidden
}

// join joins a path and parameters.
func join(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	return parts[0] + "?" + strings.Join(parts[1:], "&")
}

// param returns a parameter as it may be shown, but for keys in it.
func (r redaction) param(param string) string {
	name, value, _ := strings.Cut(param, "=")
	plain := unescape(name, true)
	if value == "" || !r.params[plain] && !credential(plain) && harmless(plain) {
		return param
	}
	return name + "=" + redacted
}

// UpToTenant returns the part of a target in which nothing is a credential of its tenant,
// whatever the tenant's keys are: the path up to the tenant's name.
func UpToTenant(target, tenant string) string {
	path, _, hasQuery := strings.Cut(target, "?")
	segments := strings.SplitN(path, "/", maxSegments)
	at := slices.IndexFunc(segments, func(segment string) bool { return tenant != "" && strings.EqualFold(segment, tenant) })
	switch {
	case at < 0:
		path = "/" + redacted
	case at < len(segments)-1:
		path = strings.Join(segments[:at+1], "/") + "/" + redacted
	}
	if hasQuery {
		path += "?" + redacted
	}
	return path
}

// maxSegments limits where a tenant's name is looked for: a path may have any number.
const maxSegments = 128
