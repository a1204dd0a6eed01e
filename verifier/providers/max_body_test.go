package providers

import (
	"regexp"
	"testing"
)

// TestMaxBodyIsSourcedAndFits: a larger limit than the default says where the size
// was read, and two such bodies fit into what one handler may hold (half of the
// 256 MiB of max_buffered).
func TestMaxBodyIsSourcedAndFits(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	const mebi = 1 << 20
	size := regexp.MustCompile(`\b[0-9]+ MB\b|base64`)
	limits := make(map[string]int64)
	for _, p := range all {
		limits[p.ID] = p.MaxBody
		if p.MaxBody == 0 {
			continue
		}
		if p.MaxBody < mebi || p.MaxBody > 64*mebi {
			t.Errorf("%s.json: max_body %d: the default is 1 MiB, and 64 MiB are the most", p.ID, p.MaxBody)
		}
		sourced := p.MaxBody == mebi
		for _, s := range p.Sources {
			sourced = sourced || size.MatchString(s.Proves)
		}
		if !sourced {
			t.Errorf("%s.json: no source says how large a body can be", p.ID)
		}
	}
	// What the senders document, in bytes of the body.
	for id, documented := range map[string]int64{
		"github": 25 * mebi, "gitlab": 25 * mebi, "gitlab_token": 25 * mebi, "jira": 25 * mebi,
		"postmark": 35_000_000 * 4 / 3, "sendgrid": 40_000_000, "mailgun": 25_000_000 * 112 / 100,
		"mandrill": 2 * 25_000_000 * 112 / 100, // whole and in parts; base64 in a form has %2B, %2F and line breaks
		"docusign": 25_000_000 * 4 / 3, "google_pubsub": 10_000_000 * 4 / 3,
		"meta": 3 * mebi, "contentful": 2_000_000, "sanity": 32_000_000, "svix": 2 * mebi,
	} {
		if limits[id] < documented {
			t.Errorf("%s.json: max_body %d, but %d bytes are documented", id, limits[id], documented)
		}
	}
}
