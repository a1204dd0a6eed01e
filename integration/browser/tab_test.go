package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A tab is a page in headless Chromium. The test fails if the page logs anything, lets a
// dialog open, or asks another server.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string
}

// newTab opens an address.
func newTab(t *testing.T, address string, width, height int, dark bool) *tab {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no Chromium: apt-get install chromium")
		}
		t.Skip("no Chromium: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.WindowSize(width, height),
		chromedp.WSURLReadTimeout(patience))
	if dark {
		options = append(options, chromedp.Flag("force-dark-mode", true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	origin := address[:strings.Index(address[len("http://"):], "/")+len("http:///")]
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			b.fault("the console: %s %s", e.Type, e.Args[0].Value)
		case *runtime.EventExceptionThrown:
			b.fault("an exception: %v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			// While a gateway restarts, its page is told so with a 502.
			if e.Entry.Source != log.SourceNetwork {
				b.fault("the log: %s %s", e.Entry.Source, e.Entry.Text)
			}
		case *page.EventJavascriptDialogOpening:
			b.fault("a dialog: %s", e.Message)
			go func() { _ = chromedp.Run(ctx, page.HandleJavaScriptDialog(true)) }()
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, origin) && !strings.HasPrefix(u, "data:") {
				b.fault("a request to %s", u)
			}
		}
	})
	t.Cleanup(func() {
		var text string
		if t.Failed() && chromedp.Run(ctx, chromedp.Evaluate("document.body.innerText", &text)) == nil {
			t.Logf("the page at the end:\n%s", text)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range b.faults {
			t.Error(f)
		}
	})
	b.do(network.Enable(), log.Enable(), page.Enable(), runtime.Enable(), chromedp.EmulateViewport(int64(width), int64(height)), chromedp.Navigate(address))
	return b
}

func (b *tab) fault(format string, values ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fmt.Sprintf(format, values...))
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// value returns the value of a JavaScript expression.
func value[T any](b *tab, expression string) (v T) {
	b.t.Helper()
	b.do(chromedp.Evaluate(expression, &v))
	return v
}

// text is what a person reads on the page.
func (b *tab) text() string {
	b.t.Helper()
	return value[string](b, "document.body.innerText")
}

// sees waits until a person can read all texts.
func (b *tab) sees(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		eventually(b.t, fmt.Sprintf("%q is on the page", text), func() bool { return strings.Contains(b.text(), text) })
	}
}

// click clicks on the first element with exactly this text that a pointer reaches.
func (b *tab) click(text string) {
	b.t.Helper()
	b.clickWhere(fmt.Sprintf(`e => e.matches('button, td, span, strong, time') && e.textContent.trim() === %q`, text))
}

// clickRow clicks on the first row that contains a text and opens something.
func (b *tab) clickRow(text string) {
	b.t.Helper()
	b.clickWhere(fmt.Sprintf(`e => e.matches('tr[tabindex]') && e.textContent.includes(%q)`, text))
}

// openGroup opens the first group of refusals that is closed.
func (b *tab) openGroup() {
	b.t.Helper()
	b.clickWhere(`e => e.matches('details:not([open]) > summary')`)
}

// confirm agrees to the question of the page.
func (b *tab) confirm() {
	b.t.Helper()
	b.clickWhere(`e => e.id === 'yes'`)
}

// clickWhere waits for an element that a pointer reaches and for which a JavaScript
// function is true, and clicks on it. The page may move while the pointer is on its way:
// what lies there then gets no click, and the pointer goes on.
func (b *tab) clickWhere(condition string) {
	b.t.Helper()
	eventually(b.t, "there is something to click: "+condition, func() bool {
		at := value[[]float64](b, fmt.Sprintf(`(() => {
			const wanted = %s;
			document.removeEventListener('click', window.aim, true);
			window.hit = false;
			window.aim = (event) => {
				for (let e = event.target; e && !window.hit; e = e.parentElement) window.hit = wanted(e);
				if (!window.hit) {
					event.stopImmediatePropagation();
					event.preventDefault();
				}
				document.removeEventListener('click', window.aim, true);
			};
			for (const e of document.querySelectorAll('body *')) {
				if (!wanted(e)) continue;
				e.scrollIntoView({ block: 'nearest' });
				const r = e.getBoundingClientRect(), x = r.x + Math.min(r.width / 2, 40), y = r.y + r.height / 2;
				if (!e.contains(document.elementFromPoint(x, y))) continue;
				document.addEventListener('click', window.aim, true);
				return [x, y];
			}
			return [];
		})()`, condition))
		if len(at) < 2 {
			return false
		}
		b.do(chromedp.MouseClickXY(at[0], at[1]))
		return value[bool](b, "window.hit")
	})
}

// selects selects a value of the list with an id.
func selects(id, v string) chromedp.Action {
	return chromedp.Evaluate(fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.value = %q; e.dispatchEvent(new Event('change')); })()`, id, v), nil)
}

// press presses a key, by its name or character.
func (b *tab) press(key string) {
	b.t.Helper()
	text := key
	if len(key) > 1 {
		text = map[string]string{"Enter": "\r"}[key]
	}
	b.do(input.DispatchKeyEvent(input.KeyDown).WithKey(key).WithText(text), input.DispatchKeyEvent(input.KeyUp).WithKey(key))
}

// write presses the keys of a text.
func (b *tab) write(text string) {
	b.t.Helper()
	for _, c := range text {
		b.press(string(c))
	}
}
