package providers

import (
	"fmt"
	"time"
)

// A Source is a page or file and the facts that it supports.
type Source struct {
	URL    string `json:"url"`
	Proves string `json:"proves"`
	// Read is the date on which the facts were last compared with the source:
	// YYYY-MM-DD. Default: not recorded.
	Read string `json:"read,omitempty"`
}

// checkSources refuses what is not a date.
func (p *Provider) checkSources() error {
	for i, s := range p.Sources {
		if _, err := time.Parse(time.DateOnly, s.Read); s.Read != "" && err != nil {
			return fmt.Errorf("sources[%d]: read %q: write the date on which the source was read as YYYY-MM-DD", i, s.Read)
		}
	}
	return nil
}
