package placement_test

import (
	"strings"
	"testing"
)

// safePlacements start without a warning.
var safePlacements = map[string]string{
	"a rewrite that comes before the block, which then sees the new path": `{
		order rewrite before verify_webhooks
	}
	hooks.example.com {
		rewrite /legacy/* /hooks/other
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		reverse_proxy app:3000
	}`,
	"guarded prefix": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/github github a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"block": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			sender stripe whsec_b {
				name stripe-test
			}
			sender {
				name        acme
				path        /hooks/acme/*
				secret      a
				signature   header Acme-Signature
				delivery_id json id
			}
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"block beside the app's other paths": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			handle /hooks/stripe {
				reverse_proxy app:3000
			}
		}
		reverse_proxy app:3000
	}`,
	"block for the whole site": `http:// {
		verify_webhooks * {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
	}`,
	"blocks with two prefixes, on two hosts": `a.example.com {
		verify_webhooks /a/* {
			sender stripe whsec_a {
				name stripe-a
			}
			reverse_proxy app:3000
		}
		verify_webhooks /b/* {
			sender stripe whsec_b {
				name stripe-b
			}
			reverse_proxy app:3001
		}
		respond 404
	}
	b.example.com {
		verify_webhooks /a/* {
			sender github a
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"guard in a route, nested handles behind it": `hooks.example.com {
		route /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/github github a
			` + guardLines + `
			handle /hooks/stripe {
				reverse_proxy app:3000
			}
			handle {
				reverse_proxy app:3001
			}
		}
		respond 404
	}`,
	"handle_path, paths as they are inside": `hooks.example.com {
		handle_path /hooks/* {
			verify_webhook /stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"prefix rewritten, paths as they are then": `hooks.example.com {
		route /hooks/* {
			rewrite * /v1{uri}
			verify_webhook /v1/hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"one site with two hosts": `hooks.example.com, hooks.example.org {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a site over http and https": `http://hooks.example.com, https://hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	http:// {
		respond 404
	}`,
	"a site at two ports": `http://:8080, http://:8081 {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a {
				name stripe
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a snippet on two hosts": `(hooks) {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	a.example.com {
		import hooks
	}
	b.example.com {
		import hooks
	}
	*.example.com {
		import hooks
	}`,
	"two accounts with names": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a {
				name stripe-live
			}
			verify_webhook /hooks/stripe-test stripe whsec_b {
				name stripe-test
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"one name for one app at two paths": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a {
				name stripe
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		route /old/hooks {
			verify_webhook /old/hooks stripe whsec_a {
				name stripe
			}
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"everything is verified": `hooks.example.com {
		verify_webhook stripe whsec_a {
			name stripe
		}
		reverse_proxy app:3000
	}`,
	"any path, which is signed": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender square a {
				path /hooks/square/*
			}
			sender twilio a {
				path /hooks/twilio/*
			}
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"any path, and no dedupe": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender github a {
				path   /hooks/github/*
				dedupe off
			}
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"another app beside": `hooks.example.com {
		handle /hooks/stripe {
			verify_webhook stripe whsec_a
			reverse_proxy app:3000
		}
		handle {
			reverse_proxy frontend:8080
		}
	}`,
	"files beside, which no POST gets": `hooks.example.com {
		handle /hooks/stripe {
			verify_webhook stripe whsec_a
			reverse_proxy app:3000
		}
		handle {
			root * /srv
			try_files {path} /index.html
			file_server
		}
	}`,
	"php behind a guard": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			root * /srv
			php_fastcgi app:9000 {
				read_timeout 60s
				write_timeout 1m
			}
		}
		respond 404
	}`,
	"a guard written as an expression": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			@unguarded expression {http.verify_webhook.name} == null
			respond @unguarded 404
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a guard written as a list of the verified": `hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			@verified vars {http.verify_webhook.verified} true
			reverse_proxy @verified app:3000
			respond 404
		}
		respond 404
	}`,
	"a named route": `&(hooks) {
		verify_webhook /hooks/stripe stripe whsec_a
		` + guardLines + `
		reverse_proxy app:3000
	}
	hooks.example.com {
		handle /hooks/* {
			invoke hooks
		}
		respond 404
	}`,
	"behind forward_auth": `hooks.example.com {
		forward_auth auth:9000 {
			uri /ask
		}
		verify_webhook /hooks/stripe stripe whsec_a
		reverse_proxy app:3000
	}`,
	"plain http for every host": `http://:8080 {
		bind 127.0.0.1
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"plain http for one host, and the others refused": `http://hooks.internal:8080 {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	http://:8080 {
		respond 404
	}`,
	"tenants told apart by a header, each with a name": `hooks.example.com {
		handle /hooks/* {
			@a header X-Tenant a
			@b header X-Tenant b
			verify_webhook @a stripe whsec_a {
				name stripe-a
			}
			verify_webhook @b stripe whsec_b {
				name stripe-b
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a prefix taken off beside a block, and the block's paths refused": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle_path /legacy/* {
			@hooks verify_webhook_prefix /hooks/*
			respond @hooks 404
			reverse_proxy app:3000
		}
		respond 404
	}`,
	"a prefix taken off beside a block, before another app": `hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle_path /legacy/* {
			reverse_proxy legacy:3000
		}
		respond 404
	}`,
	"a prefix taken off before and behind a block": `hooks.example.com {
		handle_path /api/* {
			verify_webhooks /hooks/* {
				sender stripe whsec_a
				reverse_proxy app:3000
			}
			reverse_proxy app:3000
		}
		verify_webhooks /in/* {
			sender github a
			uri strip_prefix /in
			reverse_proxy github:3000
		}
		respond 404
	}`,
	"an app that gets hooks under a prefix of their own": `hooks.example.com {
		handle_path /api/* {
			reverse_proxy app:3000
		}
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			rewrite * /internal{uri}
			reverse_proxy app:3001
		}
		respond 404
	}`,
	"a handler a tenant and one for the rest, each with what answers": `hooks.example.com {
		@a header X-Tenant a
		handle @a {
			verify_webhook stripe whsec_a {
				name stripe-a
			}
			reverse_proxy app:3000
		}
		handle {
			verify_webhook stripe whsec_b {
				name stripe-b
			}
			reverse_proxy app:3000
		}
	}`,
	"a handler for what the first did not verify": `hooks.example.com {
		route {
			@a header X-Tenant a
			verify_webhook @a stripe whsec_a {
				name stripe-a
			}
			@unverified vars {http.verify_webhook.name} ""
			verify_webhook @unverified stripe whsec_b {
				name stripe-b
			}
			reverse_proxy app:3000
		}
	}`,
	"a module behind that the walk does not know": `hooks.example.com {
		verify_webhook github a {
			name github
		}
		acme_server
	}`,
	"an answer behind for some methods alone": `hooks.example.com {
		verify_webhook github a {
			name github
		}
		@put method PUT
		reverse_proxy @put app:3000
		respond 404
	}`,
	"one provider, told apart by what the walk cannot judge": `hooks.example.com {
		handle /hooks/* {
			@a expression path('/hooks/a')
			@b expression path('/hooks/b')
			handle @a {
				verify_webhook stripe whsec_a {
					name stripe-a
				}
				reverse_proxy app:3000
			}
			handle @b {
				verify_webhook stripe whsec_b {
					name stripe-b
				}
				reverse_proxy app:3000
			}
		}
		respond 404
	}`,
}

func TestSafePlacementsStartWithoutAWarning(t *testing.T) {
	for name, caddyfile := range safePlacements {
		t.Run(name, func(t *testing.T) {
			if warnings, err := survey(t, caddyfile); err != nil || len(warnings) > 0 {
				t.Errorf("%v\n%s", err, strings.Join(warnings, "\n"))
			}
		})
	}
}
