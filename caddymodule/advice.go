package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// advise warns of what is probably not meant, and refuses handlers that would
// take each other's deliveries for copies. It runs before anything is in force.
func (a *App) advise() error {
	findings := a.unrecognised()
	placed, err := a.placement()
	if err != nil {
		return err
	}
	findings = append(findings, placed...)
	for _, f := range findings {
		a.logger.Warn(f.message, f.fields...)
	}
	return nil
}

// placement surveys the routes. Other modules stand in them too: whatever they
// make of an imagined request, the start goes on.
func (a *App) placement() (findings []finding, err error) {
	if a.http == nil {
		return nil, nil
	}
	app := a.http()
	if app == nil {
		return nil, nil
	}
	defer func() {
		if e := recover(); e != nil {
			a.logger.Debug("the routes cannot be surveyed", zap.Any("panic", e))
			findings, err = nil, nil
		}
	}()
	return surveyOf(app).findings()
}

// httpApp returns how to reach the app whose routes hold the handlers. It is
// provisioned around this one, and whole only when that is over.
func httpApp(ctx caddy.Context) func() *caddyhttp.App {
	return func() *caddyhttp.App {
		app, err := ctx.AppIfConfigured("http")
		if err != nil {
			return nil
		}
		found, _ := app.(*caddyhttp.App)
		return found
	}
}

// unrecognised names the senders whose copies are all forwarded.
func (a *App) unrecognised() []finding {
	var names []string
	for _, h := range a.named("") {
		if h.recogniser.off && (h.Dedupe == nil || !h.Dedupe.Off) {
			names = append(names, h.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []finding{{
		"nothing tells the deliveries of these senders apart, so every copy is forwarded: add delivery_id …, or dedupe { key content } if two events never share a body, or dedupe off",
		[]zap.Field{zap.Strings("names", sorted(names))},
	}}
}
