package browser

import (
	"net/http"
	"strings"
	"testing"
)

// TestADeliveryAppearsWithoutAReload: it is listed as it ends, counted in the overview,
// and shows what is known of it.
func TestADeliveryAppearsWithoutAReload(t *testing.T) {
	g := startGateway(t)
	b := newTab(t, startPage(t, g), 1200, 800, false)
	b.sees("github", "orders", "never")
	b.click("Deliveries")
	b.sees("No genuine delivery yet")
	if status := g.deliver(t, "/hooks/github", "72d3162e-cc78", "push", `{"ref":"main"}`, secret); status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	b.sees("72d3162e-cc78", "push", "delivered")
	if status := g.deliver(t, "/hooks/github", "72d3162e-cc78", "push", `{"ref":"main"}`, secret); status != http.StatusOK {
		t.Fatalf("the copy was answered %d", status)
	}
	b.sees("duplicate")
	b.click("72d3162e-cc78")
	b.sees("All requests of this delivery", "Delivery key", "200 in ")
	b.press("Escape")
	b.click("Overview")
	eventually(t, "both are counted", func() bool {
		return value[string](b, `document.querySelector('tbody tr svg').getAttribute('aria-label')`) == "Last hour: 1 delivered, 1 duplicate"
	})
}

// TestADeadLetterIsReplayed: a delivery that the app refused is in the inbox, and
// reaches the app after Replay, once, which asks first.
func TestADeadLetterIsReplayed(t *testing.T) {
	g := startGateway(t)
	g.failing.Store(true)
	if status := g.deliver(t, "/hooks/orders", "order-1", "order", `{"order":1}`, secret); status/100 != 2 {
		t.Fatalf("answered %d", status)
	}
	b := newTab(t, startPage(t, g)+"#inbox", 1200, 800, false)
	b.click("Dead")
	b.sees("dead", "Replay dead")
	g.failing.Store(false)
	b.clickRow("order")
	b.sees("Stored delivery", "order-1", "App's last answer")
	b.click("Replay")
	b.sees("Send this delivery to the app now?")
	b.click("Cancel")
	if n := g.accepted.Load(); n != 0 {
		t.Fatalf("the app got %d after Cancel", n)
	}
	b.click("Replay")
	b.confirm()
	eventually(t, "the app accepts it", func() bool { return g.accepted.Load() == 1 })
	b.sees("The inbox is empty.")
}

// TestPauseAndDiscard work on all deliveries of a handler, and ask first.
func TestPauseAndDiscard(t *testing.T) {
	g := startGateway(t)
	g.failing.Store(true)
	for _, id := range []string{"a", "b", "c"} {
		if status := g.deliver(t, "/hooks/orders", id, "order", `{"order":"`+id+`"}`, secret); status/100 != 2 {
			t.Fatalf("answered %d", status)
		}
	}
	b := newTab(t, startPage(t, g)+"#inbox", 1200, 800, false)
	b.click("Discard dead")
	b.sees("Remove 3 dead deliveries of orders for good?")
	b.confirm()
	b.sees("3 deliveries discarded", "The inbox is empty.")

	g.failing.Store(true)
	if status := g.deliver(t, "/hooks/orders", "d", "order", `{"order":"d"}`, secret); status/100 != 2 {
		t.Fatalf("answered %d", status)
	}
	b.click("Pause")
	b.confirm()
	b.sees("Paused.", "paused", "Resume")
	b.click("Resume")
	b.confirm()
	b.sees("Resumed.")
}

// TestARefusalIsExplained: requests are grouped by what explains them.
func TestARefusalIsExplained(t *testing.T) {
	g := startGateway(t)
	for range 3 {
		if status := g.deliver(t, "/hooks/github", "x", "push", `{}`, secret+"\n"); status != http.StatusUnauthorized {
			t.Fatalf("answered %d", status)
		}
	}
	b := newTab(t, startPage(t, g)+"#refusals", 1200, 800, false)
	b.sees("3 × github: signature_mismatch", "line break")
	b.openGroup()
	b.clickRow("POST /hooks/github")
	b.sees("Refused: signature_mismatch", "Keys tried", "X-Github-Delivery")
	if strings.Contains(b.text(), secret) {
		t.Error("the page shows the secret")
	}
}

// TestHostileTextIsText: what a sender or a stranger writes neither runs nor becomes
// markup, and what cannot be seen is made visible.
func TestHostileTextIsText(t *testing.T) {
	g := startGateway(t)
	const hostile = `<img src=x onerror=alert(1)><script>alert(2)</script>`
	g.deliver(t, "/hooks/github", hostile, "\u202egnp.exe", `{"a":1}`, secret)
	g.deliver(t, "/hooks/github", hostile, hostile, `{"a":2}`, "forged")
	g.deliver(t, "/hooks/github?q=%3Csvg/onload=alert(3)%3E", `"><a href="javascript:alert(4)">x</a>`, "e", `{"a":3}`, "forged")
	g.failing.Store(true)
	g.deliver(t, "/hooks/orders", hostile, hostile, `{"a":4}`, secret)
	b := newTab(t, startPage(t, g)+"#deliveries", 1200, 800, false)
	b.sees(hostile, "gnp.exe")
	if strings.Contains(b.text(), "\u202e") {
		t.Error("a character that turns the text around")
	}
	b.click("Refusals")
	b.openGroup()
	b.clickRow("POST /hooks/github")
	b.sees(`"><a href="javascript:alert(4)">x</a>`)
	b.press("Escape")
	b.click("Inbox")
	b.click("Dead")
	b.clickRow("orders")
	b.sees(hostile)
	if n := value[int](b, `document.querySelectorAll('img, a, iframe, object, svg[onload], body script ~ script').length`); n != 0 {
		t.Errorf("%d elements of a sender", n)
	}
}

// TestKeyboard: everything can be reached without a pointer.
func TestKeyboard(t *testing.T) {
	g := startGateway(t)
	g.deliver(t, "/hooks/github", "first", "push", `{"a":1}`, secret)
	g.deliver(t, "/hooks/github", "second", "push", `{"a":2}`, secret)
	b := newTab(t, startPage(t, g), 1200, 800, false)
	b.sees("healthy")
	b.press("2")
	b.sees("first", "second")
	b.press("j")
	b.press("j")
	b.press("Enter")
	b.sees("Delivery first")
	b.press("Escape")
	if got := value[string](b, `document.activeElement.innerText`); !strings.Contains(got, "first") {
		t.Errorf("the focus is on %q", got)
	}
	b.press("/")
	b.write("second")
	eventually(t, "the filter applies", func() bool { return value[int](b, `document.querySelectorAll('tbody tr').length`) == 1 })
	if got := value[string](b, `document.activeElement.value`); got != "second" {
		t.Errorf("the filter lost the focus: %q", got)
	}
}

// TestSeveralGateways are one view, and one that does not answer is named.
func TestSeveralGateways(t *testing.T) {
	one, two := startGateway(t), startGateway(t)
	b := newTab(t, startPage(t, one, two)+"#deliveries", 1200, 800, false)
	one.deliver(t, "/hooks/github", "at-one", "push", `{"a":1}`, secret)
	two.deliver(t, "/hooks/github", "at-two", "push", `{"a":2}`, secret)
	b.sees("2 of 2 gateways answer", "at-one", "at-two", one.admin, two.admin)
	two.stop()
	b.sees("1 of 2 gateways answer", "no answer from the admin endpoint at "+two.admin)
	one.deliver(t, "/hooks/github", "later", "push", `{"a":3}`, secret)
	b.sees("later")
}

// TestAGatewayThatIsSilent: one that takes requests and answers none holds up none of the
// others.
func TestAGatewayThatIsSilent(t *testing.T) {
	one := startGateway(t)
	two := strangersEndpoint(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.RawQuery == "" && r.URL.Path == "/verify_webhook/status" { // the command's first question
			return false
		}
		<-r.Context().Done()
		return true
	})
	b := newTab(t, startPage(t, one, two), 1200, 800, false)
	b.sees("github", "healthy")
	b.sees("1 of 2 gateways answer", "no answer from the admin endpoint at "+two.admin+" within 10s")
	b.click("Deliveries")
	for _, id := range []string{"first", "second", "third"} {
		one.deliver(t, "/hooks/github", id, "push", `{"id":"`+id+`"}`, secret)
		b.sees(id)
	}
	one.deliver(t, "/hooks/github", "x", "push", `{}`, "forged")
	b.click("Refusals")
	b.sees("1 × github: signature_mismatch")
	b.click("Overview")
	b.sees("github", "healthy")
}

// TestAGatewayThatLies: what one gateway says of another's number leads to no button that
// changes the other.
func TestAGatewayThatLies(t *testing.T) {
	one := startGateway(t)
	one.failing.Store(true)
	if status := one.deliver(t, "/hooks/orders", "order-1", "order", `{"order":1}`, secret); status/100 != 2 {
		t.Fatalf("answered %d", status)
	}
	two := strangersEndpoint(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/verify_webhook/inbox" && r.Method == http.MethodGet {
			_, _ = w.Write([]byte(`{"kind":"bolt","queues":[{"n":0,"name":"orders","configured":true,"pending":0,"in_attempt":0,"delivered":0,"dead":7,"paused":false}],"deliveries":[]}`))
			return true
		}
		if r.URL.Path == "/verify_webhook/inbox" {
			_, _ = w.Write([]byte(`{"changed":7}`))
			return true
		}
		return false
	})
	b := newTab(t, startPage(t, one, two)+"#inbox", 1200, 800, false)
	b.clickWhere(`e => e.matches('tr button.danger') && e.closest('tr').innerText.includes('\t7\t')`)
	b.sees("Remove 7 dead deliveries of orders for good?")
	b.confirm()
	b.sees("7 deliveries discarded")
	b.click("Dead")
	b.clickRow("orders")
	b.sees("order-1", one.admin) // still there
}

// TestNarrowScreens: nothing is wider than a phone.
func TestNarrowScreens(t *testing.T) {
	g := startGateway(t)
	g.deliver(t, "/hooks/github", strings.Repeat("0123456789", 20), "push", `{"a":1}`, secret)
	g.deliver(t, "/hooks/github", "x", "push", `{"a":2}`, "forged")
	g.failing.Store(true)
	g.deliver(t, "/hooks/orders", "dead", "order", `{"a":3}`, secret)
	b := newTab(t, startPage(t, g), 320, 640, false)
	for _, view := range []string{"Overview", "Deliveries", "Refusals", "Inbox"} {
		b.click(view)
		b.sees(map[string]string{"Overview": "healthy", "Deliveries": "0123456789", "Refusals": "1 ×", "Inbox": "Pause"}[view])
		if width := value[int](b, `document.documentElement.scrollWidth`); width > 320 {
			t.Errorf("%s is %d pixels wide: %s", view, width, value[string](b, `[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > 320).map((e) => e.outerHTML.slice(0, 100)).join('\n')`))
		}
	}
}
