package browser

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	_ "image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

var screenshots = flag.String("screenshots", "", "write the screenshots of the docs into this `folder`")

// TestScreenshots takes the pictures of the docs, light, dark and on a phone, and writes them
// with -screenshots.
func TestScreenshots(t *testing.T) {
	g := startGateway(t)
	for i := range 40 {
		event := []string{"push", "pull_request", "issues", "release"}[i%4]
		g.deliver(t, "/hooks/github", fmt.Sprintf("72d3162e-cc78-11e3-81ab-4c9367dc%04d", i), event, fmt.Sprintf(`{"n":%d}`, i), secret)
	}
	for i := range 4 {
		g.deliver(t, "/hooks/github", fmt.Sprintf("72d3162e-cc78-11e3-81ab-4c9367dc%04d", 36+i), "push", fmt.Sprintf(`{"n":%d}`, 36+i), secret)
	}
	for i := range 12 {
		g.deliver(t, "/hooks/orders", fmt.Sprintf("9b1c04f0-aaaa-4f1e-9f6e-0123456789%02d", i), "order", fmt.Sprintf(`{"order":%d}`, i), secret)
	}
	for range 3 {
		g.deliver(t, "/hooks/github", "72d3162e-cc78-11e3-81ab-4c9367dc0099", "push", `{}`, secret+"\n")
	}
	g.failing.Store(true)
	for i := range 3 {
		g.deliver(t, "/hooks/orders", fmt.Sprintf("9b1c04f0-aaaa-4f1e-9f6e-0123456790%02d", i), "order", fmt.Sprintf(`{"order":9%d}`, i), secret)
	}
	address := startPage(t, g)
	for _, shot := range []struct {
		name, view string
		width      int
		dark       bool
		act        func(b *tab)
	}{
		{"page-overview", "Overview", 1200, false, func(b *tab) { b.sees("healthy") }},
		{"page-overview-dark", "Overview", 1200, true, func(b *tab) { b.sees("healthy") }},
		{"page-deliveries-dark", "Deliveries", 1200, true, func(b *tab) { b.sees("stored: status_5xx") }},
		{"page-refusals", "Refusals", 1200, false, func(b *tab) {
			b.sees("line break")
			b.openGroup()
			b.clickRow("POST /hooks/github")
			b.sees("Keys tried")
		}},
		{"page-inbox", "Inbox", 1200, false, func(b *tab) { b.click("Dead"); b.sees("Discard dead"); b.clickRow("dead"); b.sees("Stored delivery") }},
		{"page-phone", "Deliveries", 390, true, func(b *tab) { b.sees("stored: status_5xx") }},
	} {
		b := newTab(t, address, shot.width, 720, shot.dark)
		b.click(shot.view)
		shot.act(b)
		b.picture(shot.name, shot.width)
	}
}

// TestInspectorScreenshots takes those of the inspector.
func TestInspectorScreenshots(t *testing.T) {
	l := startListen(t, "github")
	for i := range 6 {
		l.deliver(t, "/webhooks/github", fmt.Sprintf("72d3162e-cc78-11e3-81ab-4c9367dc%04d", i), []string{"push", "pull_request", "issues"}[i%3], fmt.Sprintf(`{"action":"opened","number":%d}`, i), secret)
	}
	l.deliver(t, "/webhooks/github", "72d3162e-cc78-11e3-81ab-4c9367dc0005", "issues", `{"action":"opened","number":5}`, secret)
	l.deliver(t, "/webhooks/github", "72d3162e-cc78-11e3-81ab-4c9367dc0006", "push", `{"ref":"refs/heads/main"}`, "forged")
	l.deliverOther(t, "/webhooks/github", `{"action": "opened", "number": 6, "title": "Zoë"}`, `{"action":"opened","number":6,"title":"Zo\u00eb"}`)
	for name, dark := range map[string]bool{"inspector": false, "inspector-dark": true} {
		b := newTab(t, l.page, 1200, 720, dark)
		b.clickWhere(`e => e.matches('tbody tr:first-child')`)
		b.sees("First difference")
		b.picture(name, 1200)
	}
}

// picture checks a screenshot, and writes it with -screenshots.
func (b *tab) picture(name string, width int) {
	b.t.Helper()
	var png []byte
	b.do(chromedp.CaptureScreenshot(&png))
	picture, _, err := image.Decode(bytes.NewReader(png))
	if err != nil || picture.Bounds().Dx() != width {
		b.t.Errorf("%s: %v, %v", name, err, picture.Bounds())
	}
	if *screenshots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}
