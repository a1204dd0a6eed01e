package command

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// onTerminal lets the commands print to a terminal of so many columns.
func onTerminal(t *testing.T, width int) {
	t.Helper()
	before := columns
	columns = func(io.Writer) int { return width }
	t.Cleanup(func() { columns = before })
}

// overlong returns the lines that are wider than 80 columns.
func overlong(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > 80 {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestListsFitATerminal: rows with long names, URLs and messages are folded on a terminal,
// nothing of them is lost, and elsewhere each is one line.
func TestListsFitATerminal(t *testing.T) {
	at := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
	const name, provider, id = "storefront-of-the-european-subsidiary", "supabase_db_webhooks", "3f9a52c07d1e"
	url := "/hooks/" + name + "?lang=de"
	many := map[string]uint64{"missing_signature": 1234567, "signature_mismatch": 2, "stale_timestamp": 3}
	list := []instanceRejection{{"gateway-1.internal.example.com:2019", adminapi.Rejection{
		ID: id, Time: at, Name: name, Reason: "signature_mismatch", Observed: true, Method: "POST", URL: url,
	}}}
	status := instanceStatus{list[0].Instance, adminapi.Status{
		Version: "v1.2.3", Since: at, Store: adminapi.Store{Kind: "redis", Degraded: true, Problem: "it does not answer: this process decides alone, and copies that reach another may pass", Unwritten: 3},
		Inbox: &adminapi.InboxEngine{Kind: "bolt", Problem: "cannot open /var/lib/caddy/verify_webhook/inbox.db: in use by another process", ID: "5f0c9a3e71b2d846", Damaged: 1},
		Handlers: []adminapi.Handler{{
			Name: name, Provider: provider, Delivered: 1234567, Duplicates: 1234567, Handshakes: 12, Rejected: many, Observed: many, Failed: many, Stored: many,
			Keys: []adminapi.Key{{Label: "the-key-of-before-the-rotation-in-november", LastUsed: &at}}, KeyProblems: []string{"/run/secrets/storefront/current: is empty; the last usable key stays in use until it is whole again"},
			Tenants: &adminapi.Tenants{Cached: 50000, Max: 50000, Lookups: many, Guessable: []string{"alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india"}},
			Inbox:   &adminapi.InboxQueue{Configured: true, Pending: 12345, Dead: 12345, Oldest: &at, DownSince: &at, Paused: true},
		}},
	}}
	for what, print := range map[string]func(w io.Writer) error{
		"rejections": func(w io.Writer) error { return printRejections(w, list) },
		"status":     func(w io.Writer) error { return printStatuses(w, []instanceStatus{status, status}) },
		"inbox": func(w io.Writer) error {
			queue := *status.Handlers[0].Inbox
			queue.Name = name
			return printInbox(w, adminapi.Inbox{InboxEngine: *status.Inbox, Queues: []adminapi.InboxQueue{queue}})
		},
	} {
		t.Run(what, func(t *testing.T) {
			var plain, folded strings.Builder
			if err := print(&plain); err != nil {
				t.Fatal(err)
			}
			if len(overlong(plain.String())) == 0 || !strings.Contains(plain.String(), name+"  ") {
				t.Errorf("for programs, a row is one line:\n%s", plain.String())
			}
			onTerminal(t, 80)
			if err := print(&folded); err != nil {
				t.Fatal(err)
			}
			if long := overlong(folded.String()); long != nil {
				t.Errorf("over 80 columns: %q in\n%s", long, folded.String())
			}
			for _, word := range []string{"missing_signature", "subsidiary", id, "DELIVERED", "PENDING"} {
				if strings.Contains(plain.String(), word) && !strings.Contains(folded.String(), word) {
					t.Errorf("%s is broken:\n%s", word, folded.String())
				}
			}
			if letters(plain.String()) != letters(folded.String()) {
				t.Errorf("something is lost:\n%s", folded.String())
			}
		})
	}
}

// TestLongRequestInAList: a stranger's long URL fills no terminal.
func TestLongRequestInAList(t *testing.T) {
	list := []instanceRejection{{Rejection: adminapi.Rejection{ID: "3f9a52c07d1e", Name: "shop", Method: "POST", URL: "/" + strings.Repeat("ä/", 4000)}}}
	for _, width := range []int{0, 80} {
		onTerminal(t, width)
		var out strings.Builder
		if err := printRejections(&out, list); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "ä"); n != map[int]int{0: 4000, 80: 27}[width] {
			t.Errorf("%d columns: %d characters of it", width, n)
		}
	}
}

// letters counts the characters of a text that are no blanks.
func letters(text string) string {
	count := make(map[rune]int)
	for _, c := range text {
		if c != ' ' && c != '\n' {
			count[c]++
		}
	}
	return fmt.Sprint(count)
}

// TestTable: a block is folded only if it is too wide, first between words, and a long run
// of letters stays whole as long as a key may be.
func TestTable(t *testing.T) {
	key := strings.Repeat("0123456789abcdef", 2)
	for _, tc := range []struct {
		width      int
		text, want string
	}{
		{0, "A\tB\nlong\tx\n\nC\tD\n", "A     B\nlong  x\n\nC  D\n"},
		{20, "A\tB\nfits\ttwenty columns\n", "A     B\nfits  twenty columns\n"},
		{19, "A\tB\nfits\ttwenty columns\n", "A     B\nfits  twenty\n      columns\n"},
		{20, "KEY\tSEEN\n" + key + "\t3 minutes ago\n", "KEY                               SEEN\n" + key + "  3\n                                  minutes\n                                  ago\n"},
		{12, "N\tURL\na\tPOST /hooks/stripe?a=b\n", "N  URL\na  POST\n   /hooks/\n   stripe?\n   a=b\n"},
		{12, "one line of prose that goes on\nA\tB\n", "one line of\nprose that\ngoes on\nA  B\n"},
		{50, "a\t" + strings.Repeat("x", 60) + "\n", "a  " + strings.Repeat("x", 47) + "\n   " + strings.Repeat("x", 13) + "\n"},
		{7, "ä\tö\nääää\tö ö\n", "ä     ö\nääää  ö\n      ö\n"},
	} {
		var out strings.Builder
		table := &table{w: &out, width: tc.width}
		_, _ = io.WriteString(table, tc.text)
		if err := table.flush(); err != nil || out.String() != tc.want {
			t.Errorf("%d: %v\n%s, want\n%s", tc.width, err, out.String(), tc.want)
		}
	}
}

// TestProseFitsATerminal: what verify and send say is wrapped there, and elsewhere one line.
func TestProseFitsATerminal(t *testing.T) {
	nobody := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer nobody.Close()
	for _, args := range [][]string{
		{"verify", "github", "--secret", "another secret", "-H", "X-Hub-Signature-256: sha256=" + strings.Repeat("00", 32), "--body-file", "-"},
		{"send", "github", "--secret", "another secret", "--to", nobody.URL},
	} {
		out, _, code := webhook(t, `{"a":1}`, args...)
		if len(overlong(out)) == 0 || code != exitNot {
			t.Errorf("for programs, a sentence is one line: exit %d\n%s", code, out)
		}
		onTerminal(t, 80)
		if out, _, _ = webhook(t, `{"a":1}`, args...); overlong(out) != nil || strings.Count(out, "\n  ") < 2 {
			t.Errorf("over 80 columns:\n%s", out)
		}
		columns = func(io.Writer) int { return 0 }
	}
}
