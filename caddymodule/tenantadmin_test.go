package caddymodule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// TestTenantsAreShown in the access log, the history, rejections and the log, and never
// in a metric.
func TestTenantsAreShown(t *testing.T) {
	g := watched(t, "", shop(secretsOf(t, map[string]string{"acme": "secret-of-acme", "bravo": "secret-of-bravo"})))
	for _, r := range []*http.Request{to("acme", "secret-of-acme"), to("bravo", "secret-of-bravo"), to("acme", "secret-of-acme\n"), to("nobody", "x"), to("%C5%BF", "x")} {
		serve(t, r, accepting, g.handlers...)
	}
	var tenants []string
	for _, d := range get[[]adminapi.Delivery](t, adminapi.DeliveriesPath) {
		tenants = append(tenants, d.Tenant+" "+d.Key)
	}
	if !slices.Equal(tenants, []string{"bravo 1", "acme 1"}) {
		t.Errorf("the history: %q", tenants)
	}
	if list := get[[]adminapi.Delivery](t, adminapi.DeliveriesPath+"?tenant=acme"); len(list) != 1 || list[0].Tenant != "acme" {
		t.Errorf("of one tenant: %+v", list)
	}
	rejections := get[[]adminapi.Rejection](t, adminapi.RejectionsPath)
	var seen []string
	for _, r := range rejections {
		detail := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+r.ID)
		seen = append(seen, fmt.Sprintf("%q %s %q hint:%t note:%t", r.Tenant, r.Reason, r.Keys, detail.Hint != "", strings.Contains(detail.Note, "no such tenant")))
	}
	want := []string{`"" unknown_tenant [] hint:false note:true`, `"nobody" unknown_tenant [] hint:false note:true`, `"acme" signature_mismatch ["1"] hint:true note:false`}
	if !slices.Equal(seen, want) {
		t.Errorf("rejections:\n%s\nwant:\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	var logged []string
	for _, entry := range g.logs.FilterMessage("delivery refused").All() {
		logged = append(logged, fmt.Sprint(entry.ContextMap()["tenant"], entry.ContextMap()["keys"]))
	}
	if !slices.Equal(logged, []string{"acme[1]", "nobody[]", "<nil> []"}) {
		t.Errorf("the log: %q", logged)
	}
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if v := l.GetValue(); v == "bravo" || v == "nobody" || l.GetName() == "tenant" || l.GetName() == "key" && v != "tenant" && strings.Contains(m.String(), `value:"acme"`) {
					t.Errorf("%s has the label %s=%s", f.GetName(), l.GetName(), v)
				}
			}
		}
	}
}

// TestTenantsInStatus: how many are cached, look-ups, and the newest failure, of all
// tenants together.
func TestTenantsInStatus(t *testing.T) {
	const random = "9f31c0a2d47be58690f1c3a5d7e9b826"
	dir := secretsOf(t, map[string]string{"acme": random, "bravo": "changeme"})
	setSecret(t, dir, "empty", "")
	g := watched(t, "", shop(dir, `"max_tenants":50`))
	status := func() adminapi.Tenants { return *get[adminapi.Status](t, adminapi.StatusPath).Handlers[0].Tenants }
	before := status()
	for _, r := range []*http.Request{to("acme", random), to("bravo", "changeme"), to("nobody", "x"), to("empty", "x")} {
		serve(t, r, accepting, g.handlers...)
	}
	s := status()
	for result, n := range before.Lookups { // of other tests
		s.Lookups[result] -= n
	}
	if s.Cached != 2 || s.Max != 50 || s.Unknown != 2 || s.Lookups["found"] != 2 || s.Lookups["unknown"] == 0 || s.Lookups["failed"] == 0 {
		t.Errorf("%+v", s)
	}
	if s.Problem == nil || s.Problem.Tenant != "empty" || s.Problem.Text != "empty: the file is empty" || s.Problem.Time.IsZero() || !slices.Equal(s.Guessable, []string{"bravo"}) {
		t.Errorf("%+v", s)
	}
	if n := g.logs.FilterMessageSnippet("the secret of a tenant is a placeholder").Len(); n != 1 {
		t.Errorf("%d warnings of a guessable secret", n)
	}
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := ""
	for _, f := range families {
		if strings.Contains(f.GetName(), "tenant") {
			shown += f.String()
		}
	}
	if !strings.Contains(shown, "tenants_cached") || !strings.Contains(shown, `value:"failed"`) || strings.Contains(shown, "bravo") {
		t.Errorf("metrics: %s", shown)
	}
}

// TestForgetOfATenant: two tenants may have one id.
func TestForgetOfATenant(t *testing.T) {
	g := watched(t, "", shop(secretsOf(t, map[string]string{"acme": "secret-of-acme", "bravo": "secret-of-bravo"})))
	for _, tenant := range []string{"acme", "bravo"} {
		if a := serve(t, to(tenant, "secret-of-"+tenant), accepting, g.handlers...); a.status != 202 {
			t.Fatal(a.status)
		}
	}
	if _, err := ask(http.MethodDelete, adminapi.DeliveriesPath+"?name=acme&id=evt_1"); err == nil || !strings.Contains(err.Error(), "specify the tenant") {
		t.Errorf("of two tenants: %v", err)
	}
	if f := told[adminapi.ForgottenByID](t, http.MethodDelete, adminapi.DeliveriesPath+"?name=acme&tenant=bravo&id=evt_1"); len(f.Keys) != 1 {
		t.Errorf("%+v", f)
	}
	for tenant, duplicate := range map[string]string{"acme": "true", "bravo": "false"} {
		if a := serve(t, to(tenant, "secret-of-"+tenant), accepting, g.handlers...); a.placeholder("duplicate") != duplicate {
			t.Errorf("%s: duplicate %s", tenant, a.placeholder("duplicate"))
		}
	}
}
