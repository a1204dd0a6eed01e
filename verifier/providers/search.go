package providers

import (
	"slices"
	"strings"
)

// Search returns the providers whose id, name, aliases or category contain a word, in any
// case, ordered by id.
func Search(word string) ([]*Provider, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	word = strings.ToLower(word)
	return slices.DeleteFunc(all, func(p *Provider) bool {
		return !slices.ContainsFunc(append([]string{p.ID, p.Name, p.Category}, p.Aliases...), func(text string) bool {
			return strings.Contains(strings.ToLower(text), word)
		})
	}), nil
}
