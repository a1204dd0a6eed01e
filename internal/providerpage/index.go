package providerpage

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// Index returns the page that lists all providers by category.
func Index(all []*providers.Provider) []byte {
	forwarded := 0
	for _, p := range all {
		if copyFactsOf(p).RecognisedBy == "none" {
			forwarded++
		}
	}
	var b bytes.Buffer
	b.WriteString("<!-- Made by go generate ./... from verifier/providers/*.json. -->\n\n# Webhook senders\n\n")
	fmt.Fprintf(&b, "%d senders whose webhooks you can verify by name: `sender <id> <secret>` in a [`verify_webhooks`](../configuration.md#verify_webhooks) block. Each has a page with a Caddyfile to copy, what is signed, retries, traps and sources. For any other sender, [write a provider file](../providers.md); to share it, see [Adding a provider](../../CONTRIBUTING.md#adding-a-provider). For programs, [index.json](index.json) lists [the same facts](../providers.md#the-catalogue-as-json).\n\n", len(all))
	b.WriteString("To search: open [index.html](index.html) of a checkout in the browser, which filters by name, id, category, signature or header as you type. In the terminal, `caddy webhook providers pay` lists the senders with *pay* in their id, name, aliases or category, `caddy webhook providers --category payments` those of a category.\n\n")
	fmt.Fprintf(&b, "*copies by* is what makes two deliveries copies of each other; *none*: nothing does by default, so every copy is forwarded (%d senders). *replay* says which copies of a captured delivery the app does not see while it is remembered: *all*; *exact*, those in which nothing was changed that the signature does not cover; *none*. See [dedupe.md](../dedupe.md#what-identifies-a-delivery).\n\n", forwarded)
	for _, c := range providers.Categories {
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", c.ID, c.ID, c.About)
	}
	for _, group := range byCategory(all) {
		fmt.Fprintf(&b, "\n## %s\n\n| sender | id and aliases | copies by | replay | proof | confidence |\n|---|---|---|---|---|---|\n", group.ID)
		slices.SortFunc(group.list, func(a, b *providers.Provider) int {
			return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		})
		for _, p := range group.list {
			c := copyFactsOf(p)
			fmt.Fprintf(&b, "| [%s](%s.md) | `%s` | %s | %s | %s | %s |\n", p.Name, p.ID, strings.Join(append([]string{p.ID}, p.Aliases...), "` `"), c.RecognisedBy, c.Replay, p.Proof(), or(p.Confidence, "none"))
		}
	}
	b.WriteString(indexWords)
	return b.Bytes()
}

// indexWords explains the last two columns.
const indexWords = `
## Proof and confidence

*proof* says where a provider's test signatures come from, the strongest first:

- *vendor documentation*: printed in the vendor's documents.
- *vendor SDK*: made or accepted by the vendor's own code.
- *other implementation*: by another project's code.
- *openssl*: made by openssl over the content that the documents say is signed.
- *construction*: made by other code from our reading of the documents, or a secret that is sent as it is, where there is nothing to compute.

*confidence* says what the rest of the entry rests on:

- *official-doc*, *official-sdk*, *official-code*, *official-sample*: the vendor's documentation, SDK, server code or sample code.
- *secondary*: someone else's description or code; the vendor's own was not found.
- *seed*: the description of a user who receives these webhooks.
- *low*: the sources are incomplete or disagree; the page names the open point under Traps.
`

// A group is the providers of a category.
type group struct {
	providers.Category
	list []*providers.Provider
}

// byCategory groups providers, without empty groups. Those without a category are left
// out.
func byCategory(list []*providers.Provider) (groups []group) {
	for _, c := range providers.Categories {
		g := group{Category: c}
		for _, p := range list {
			if p.Category == c.ID {
				g.list = append(g.list, p)
			}
		}
		if len(g.list) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// List returns the table that "caddy webhook providers" prints, by category, at most 80
// columns wide.
func List(list []*providers.Provider) string {
	var b strings.Builder
	width := 0
	for _, p := range list {
		width = max(width, len(p.ID))
	}
	row := func(id, name, by, replay string) {
		fmt.Fprintf(&b, "  %s  %s  %s  %s\n", pad(id, width), pad(name, 56-width), pad(by, 9), replay)
	}
	row("ID", "NAME", "COPIES BY", "REPLAY")
	for _, group := range byCategory(list) {
		fmt.Fprintf(&b, "%s: %s\n", group.ID, group.About)
		for _, p := range group.list {
			c := copyFactsOf(p)
			row(p.ID, p.Name, c.RecognisedBy, c.Replay)
		}
	}
	return b.String()
}

// pad cuts or fills a text to a width.
func pad(text string, width int) string {
	if n := utf8.RuneCountInString(text); n <= width {
		return text + strings.Repeat(" ", width-n)
	}
	return string([]rune(text)[:width-1]) + "…"
}
