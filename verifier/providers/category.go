package providers

import (
	"fmt"
	"slices"
	"strings"
)

// A Category is a kind of sender, by which the catalogue is listed.
type Category struct {
	ID    string // as in a provider file
	About string // what its senders do, in a few words
}

// Categories lists every category, ordered by id. No provider file has another.
var Categories = []Category{
	{"ai", "models, agents, transcription"},
	{"banking", "accounts, cards, open banking"},
	{"billing", "subscriptions, accounting, licences"},
	{"cloud", "hosting, infrastructure, data, queues"},
	{"commerce", "shops, marketplaces, shipping, loyalty"},
	{"communication", "chat, telephony, text messages, meetings, social networks"},
	{"content", "content management, media, files, documents, e-signatures"},
	{"crm", "customers, marketing, support"},
	{"crypto", "currencies, chains, wallets"},
	{"development", "source code, builds, monitoring, security"},
	{"email", "sending and receiving mail"},
	{"hr", "hiring, payroll, training"},
	{"identity", "login, users, verification of people"},
	{"industry", "vehicles, energy, health, buildings, field service"},
	{"payments", "accepting payments, payouts"},
	{"productivity", "projects, tasks, calendars, forms, automation"},
	{"standards", "signatures that many senders share, and services that send for others"},
}

// checkCategory refuses a category that is not listed.
func (p *Provider) checkCategory() error {
	if p.Category == "" || slices.ContainsFunc(Categories, func(c Category) bool { return c.ID == p.Category }) {
		return nil
	}
	return fmt.Errorf("category %q: write one of %s", p.Category, strings.Join(CategoryIDs(), ", "))
}

// CategoryIDs returns the ids of Categories.
func CategoryIDs() []string {
	var ids []string
	for _, c := range Categories {
		ids = append(ids, c.ID)
	}
	return ids
}
