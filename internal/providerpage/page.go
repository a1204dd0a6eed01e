// Package providerpage describes a provider in prose: as a page of
// docs/providers and as the output of "caddy webhook providers ID".
package providerpage

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/wrap"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

//go:generate go run ./gen

// Path returns the path of a provider's page from the root of the repository.
func Path(p *providers.Provider) string { return "docs/providers/" + p.ID + ".md" }

// A section is a heading with paragraphs, a list or a code block.
type section struct {
	title string
	lines []string
	list  bool
	fence string // the language of a code block, "" for prose
}

func sections(p *providers.Provider) []section {
	all := []section{
		{title: keyTitle(p), lines: keyLines(p), list: true},
		{title: "What is signed", lines: signed(p), list: true},
		{title: "A delivery, and the command that accepts it", lines: delivery(p), fence: "sh"},
		{title: "Which copies are the same delivery", lines: copies(p)},
		{title: "Retries", lines: []string{retries(p)}},
		{title: "Parameters", lines: params(p), list: true},
		{title: "Limits and answers", lines: limits(p), list: true},
		{title: "Traps", lines: traps(p), list: true},
		{title: "Rotating the key", lines: rotation(p)},
		{title: "Proof", lines: proof(p)},
		{title: "Sources", lines: sources(p), list: true},
	}
	return slices.DeleteFunc(all, func(s section) bool { return len(s.lines) == 0 })
}

// Text returns the provider's description as plain text, for the terminal.
func Text(p *providers.Provider) string {
	var b strings.Builder
	b.WriteString(wrap.Text(p.Name+" ("+strings.Join(append([]string{p.ID}, p.Aliases...), ", ")+")", "", "  "))
	b.WriteString("\n" + Caddyfile(p))
	for _, s := range sections(p) {
		fmt.Fprintf(&b, "\n%s\n", s.title)
		for _, line := range s.lines {
			switch {
			case s.fence != "":
				fmt.Fprintln(&b, line) // to copy
			case s.list:
				b.WriteString(wrap.Text(plain.Replace(line), "  - ", "    "))
			default:
				b.WriteString(wrap.Text(plain.Replace(line), "  ", "  "))
			}
		}
	}
	return b.String()
}

// plain removes Markdown markup.
var plain = strings.NewReplacer(`\*`, "*", `\<`, "<", "**", "", "`", "", "<http", "http", ">: ", ": ", ">; ", "; ")

// prose escapes text for Markdown: <key> is not a tag and * is not emphasis.
func prose(text string) string {
	parts := strings.Split(text, "`")
	for i := 0; i < len(parts); i += 2 { // the others are code
		parts[i] = strings.NewReplacer("*", `\*`, "<", `\<`).Replace(parts[i])
	}
	return strings.Join(parts, "`")
}

// Markdown returns the provider's page.
func Markdown(p *providers.Provider) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Made by go generate ./... from verifier/providers/%s.json: change that file. -->\n\n# %s\n\n", p.ID, p.Name)
	fmt.Fprintf(&b, "Verify %s in front of your app. Provider `%s`", deliveriesOf(p), p.ID)
	if len(p.Aliases) > 0 {
		fmt.Fprintf(&b, " (also `%s`)", strings.Join(p.Aliases, "`, `"))
	}
	fmt.Fprintf(&b, ", category %s, proof: %s, confidence: %s.\n\n```caddyfile\n%s```\n", or(p.Category, "none"), p.Proof(), or(p.Confidence, "none"), Caddyfile(p))
	for _, s := range sections(p) {
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		switch {
		case s.fence != "":
			fmt.Fprintf(&b, "```%s\n%s\n```\n", s.fence, strings.Join(s.lines, "\n"))
		case s.list:
			fmt.Fprintf(&b, "- %s\n", strings.Join(s.lines, "\n- "))
		default:
			fmt.Fprintf(&b, "%s\n", strings.Join(s.lines, "\n\n"))
		}
	}
	b.WriteString("\nAll senders, and [what the words of proof and confidence mean](README.md#proof-and-confidence): [README.md](README.md). The language of the provider's file: [../providers.md](../providers.md).\n")
	return b.Bytes()
}

// Caddyfile returns a complete site with the provider as its only sender.
func Caddyfile(p *providers.Provider) string {
	env := strings.ToUpper(p.ID)
	line := "sender " + p.ID
	var block []string
	if p.UsesSecret() {
		line += fmt.Sprintf(" {env.%s_SECRET}", env)
	} else if !p.Scheme.SelfKeyed() {
		block = append(block, fmt.Sprintf("public_key {env.%s_PUBLIC_KEY}", env))
	}
	for _, param := range p.Params {
		if !param.Optional {
			block = append(block, fmt.Sprintf("param %s {env.%s_%s}", param.Name, env, strings.ToUpper(param.Name)))
		}
	}
	if len(block) > 0 {
		line += " {\n\t\t\t" + strings.Join(block, "\n\t\t\t") + "\n\t\t}"
	}
	return `hooks.example.com {
	verify_webhooks /hooks/* {
		` + line + `
		reverse_proxy app:3000
	}
	respond 404
}
`
}

func keyTitle(p *providers.Provider) string {
	if p.UsesSecret() {
		return "The secret"
	}
	return "The public key"
}

// keyLines say where the key is found and what it looks like.
func keyLines(p *providers.Provider) (lines []string) {
	k := p.Key
	if k.Where != "" {
		lines = append(lines, "Where to find it: "+prose(strings.TrimSuffix(k.Where, "."))+".")
	}
	begins := "It begins with `" + strings.Join(k.Prefix, "` or `") + "`"
	switch {
	case len(k.Prefix) > 0 && k.MinLength > 0:
		lines = append(lines, fmt.Sprintf("%s and has at least %d characters.", begins, k.MinLength))
	case len(k.Prefix) > 0:
		lines = append(lines, begins+".")
	case k.MinLength > 0:
		lines = append(lines, fmt.Sprintf("It has at least %d characters.", k.MinLength))
	}
	return lines
}

func idPlace(id *verifier.DeliveryID) string {
	switch {
	case len(id.Header) > 0:
		return "the header `" + strings.Join(id.Header, "` or `") + "`"
	case id.JSON != "" && id.Form != "":
		return "`" + id.JSON + "` of the JSON body, or the field `" + id.Form + "` of a form"
	case id.Form != "":
		return "the form field `" + id.Form + "`"
	case id.Claim != "":
		return "the claim `" + id.Claim + "`"
	}
	return "`" + id.JSON + "` of the JSON body"
}

func retries(p *providers.Provider) string {
	schedule := prose(strings.TrimSuffix(p.Retry.Schedule, "."))
	if schedule != "" {
		schedule = strings.ToUpper(schedule[:1]) + schedule[1:]
	}
	switch r := p.Retry; {
	case schedule != "" && r.Span > 0:
		return fmt.Sprintf("%s; %s from the first attempt to the last.", schedule, span(r.Span))
	case schedule != "":
		return schedule + "."
	case r.Span > 0:
		return span(r.Span) + " from the first attempt to the last."
	}
	for _, note := range p.Notes {
		if found := retriesNotFound.FindStringSubmatch(note); found != nil {
			return "Not found in the sources below" + found[1] + "."
		}
	}
	return "Not documented."
}

// retriesNotFound matches a note that the sender's pages do not say how it retries, and
// when they were read.
var retriesNotFound = regexp.MustCompile(`(?i)not found in the (?:part of the )?pages below(?: that could be read)?( on [0-9-]{10}):.*\b(?:retr|when and how often)`)

// deliveriesOf names what the provider sends, without saying webhooks twice.
func deliveriesOf(p *providers.Provider) string {
	for _, word := range []string{"hook", "callback", "notification", "event", "stream"} {
		if strings.Contains(strings.ToLower(p.Name), word) {
			return "deliveries of " + p.Name
		}
	}
	return p.Name + " webhooks"
}

func traps(p *providers.Provider) (lines []string) {
	for _, note := range p.Notes {
		lines = append(lines, prose(note))
	}
	return lines
}

func params(p *providers.Provider) (lines []string) {
	for _, param := range p.Params {
		optional := ""
		if param.Optional {
			optional = " (optional)"
		}
		lines = append(lines, fmt.Sprintf("`%s`%s: %s", param.Name, optional, prose(param.Description)))
	}
	return lines
}

// limits lists what differs from the defaults.
func limits(p *providers.Provider) (lines []string) {
	if len(p.Methods) > 0 {
		lines = append(lines, "Methods: "+strings.Join(p.Methods, ", ")+".")
	}
	if p.MaxBody > 0 {
		lines = append(lines, "Bodies of up to "+size(p.MaxBody)+"; `max_body` sets another limit.")
	}
	if p.AnswerWithin > 0 {
		lines = append(lines, "Answer within "+span(p.AnswerWithin)+": after that the sender considers the attempt failed.")
	}
	if p.RejectStatus > 0 {
		lines = append(lines, fmt.Sprintf("Refused deliveries are answered with status %d.", p.RejectStatus))
	}
	if p.ReadsAnswer {
		lines = append(lines, "The sender uses the app's response, so `inbox first` is an error; `inbox` works.")
	}
	if p.ReadsAnswerTo != "" {
		lines = append(lines, "The sender uses the app's response to "+prose(p.ReadsAnswerTo)+". With `inbox first` it gets `duplicate_response` instead, and the start warns of that; `inbox` works.")
	}
	if len(p.EventHeader) > 0 {
		lines = append(lines, "`{http.verify_webhook.event}` is the value of the header `"+strings.Join(p.EventHeader, "` or else `")+"`.")
	}
	if len(p.RetryHeader) > 0 {
		lines = append(lines, "The app does not get `"+strings.Join(p.RetryHeader, "` and `")+"`, by which apps drop retries, of a handler with `inbox`, which retries itself.")
	}
	for _, path := range sorted(p.Scheme.RequireJSON) {
		lines = append(lines, fmt.Sprintf("`%s` of the JSON body must be %s.", path, requiredValues(p.Scheme.RequireJSON[path])))
	}
	for _, h := range p.Scheme.RequireHeader {
		lines = append(lines, fmt.Sprintf("The header `%s` must appear exactly once, with the value `%s`.", h.Name, strings.Join(h.Values, "` or `")))
	}
	return lines
}

func size(bytes int64) string {
	const mebi = 1 << 20
	if bytes%mebi != 0 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return fmt.Sprintf("%d MiB", bytes/mebi)
}

func rotation(p *providers.Provider) []string {
	if p.Scheme.KeySource != nil {
		return []string{"Nothing to do: published keys are fetched when a delivery needs them. While a key is unavailable, its deliveries are answered 503 (`key_unavailable`) so that the sender retries."}
	}
	if p.Scheme.X5C != nil {
		return []string{"Nothing to do: each delivery carries the certificate of its key. The root changes once in decades."}
	}
	var lines []string
	if p.Key.Rotation != "" {
		lines = append(lines, prose(p.Key.Rotation))
	} else if severalSignatures(p.Scheme.Signature) {
		lines = append(lines, "A delivery may have several signatures, of which one must match: a sender that signs with the old and the new key for a while is accepted with either.")
	}
	return append(lines, steps(p)+" Remove the old one once `{http.verify_webhook.key}` no longer shows it, and the sender's retries of older deliveries are over.")
}

// steps say in which order the new key is configured here and at the sender.
func steps(p *providers.Provider) string {
	env, option := strings.ToUpper(p.ID), "secret {env.%[1]s_OLD_SECRET} {env.%[1]s_SECRET}"
	if !p.UsesSecret() {
		option = "public_key {env.%[1]s_OLD_PUBLIC_KEY} {env.%[1]s_PUBLIC_KEY}"
	}
	both := fmt.Sprintf("both (`"+option+"`, or a directory with one key per file: `{file./etc/keys/%[2]s}`)", env, p.ID)
	const made, gap = "create the new one there, with the longest time that it offers for the old one, and configure ", " at once: until then, what is signed with the new one alone is refused."
	switch {
	case !p.UsesSecret():
		return "As soon as the sender names its new key, configure " + both + "."
	case strings.Contains(p.Key.Where, "you choose"):
		return "You choose the secret: configure " + both + " before you change it at the sender."
	case len(p.Key.Prefix) > 0 || p.Key.MinLength > 0:
		return "The sender makes the secret: " + made + both + gap
	}
	return "If you choose the secret, configure " + both + " before you change it at the sender. If the sender makes it, " + made + "both" + gap
}

// severalSignatures reports whether a delivery may be signed with several keys.
func severalSignatures(s *verifier.Signature) bool {
	if s == nil {
		return false
	}
	return slices.Contains([]string{"kv", "list", "keyed_list"}, s.Syntax) || s.Lines == "any" || len(s.Header) > 1 && (s.Match == "" || s.Match == "any")
}

func proof(p *providers.Provider) []string {
	vectors := make(map[providers.Proof]int)
	n := 0
	for i := range p.Vectors {
		if v := &p.Vectors[i]; v.Expect == providers.Genuine {
			vectors[v.Proof]++
			n++
		}
	}
	var kinds []string
	for _, kind := range providers.Proofs {
		if vectors[kind] > 0 {
			kinds = append(kinds, fmt.Sprintf("%d by %s", vectors[kind], kind))
		}
	}
	if n == 0 {
		return []string{"None: no delivery from this sender has been verified yet."}
	}
	return []string{fmt.Sprintf("Tested against deliveries that others signed or checked: %d genuine (%s), which are all accepted, and %d altered or wrong, which are all refused. Confidence: %s.", n, strings.Join(kinds, ", "), len(p.Vectors)-n, or(p.Confidence, "none"))}
}

func sources(p *providers.Provider) (lines []string) {
	for _, s := range p.Sources {
		read := ""
		if s.Read != "" {
			read = " (read " + s.Read + ")"
		}
		address := prose(s.URL)
		if strings.Contains(s.URL, "://") {
			address = "<" + s.URL + ">"
		}
		lines = append(lines, fmt.Sprintf("%s: %s%s", address, prose(s.Proves), read))
	}
	return lines
}

// Files returns every page, index.html to search in them, and index.json for other
// programs, by its file name in docs/providers.
func Files() (map[string][]byte, error) {
	all, err := providers.All()
	if err != nil {
		return nil, err
	}
	list, err := export(all)
	if err != nil {
		return nil, err
	}
	search, err := SearchPage(all)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"README.md": Index(all), "index.json": list, "index.html": search}
	for _, p := range all {
		files[p.ID+".md"] = Markdown(p)
	}
	return files, nil
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
