package placement_test

import (
	"testing"
)

// unsafePlacements start with exactly these warnings. A warning is the beginning of
// its message and, after " … ", its fields.
var unsafePlacements = map[string]struct {
	caddyfile string
	want      []string
}{
	"a block in a handle behind one for its prefix": {`hooks.example.com {
		handle /api/* {
			reverse_proxy app:3000
		}
		handle {
			verify_webhooks /api/* {
				sender stripe whsec_a
				reverse_proxy other:3000
			}
			respond 404
		}
	}`, []string{shadowed + ": reverse_proxy app:3000 answers first … name=stripe request=/api/stripe", notAll + "reverse_proxy app:3000 … prefix=/api/* inside=[] host=hooks.example.com"}},
	"a directive behind a proxy, in a route": {`hooks.example.com {
		route {
			reverse_proxy app:3000
			verify_webhook stripe whsec_a
		}
	}`, []string{shadowed + ": reverse_proxy app:3000 answers first … name=stripe"}},
	"a matcher a sender before a proxy for everything": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a
		verify_webhook /hooks/github github a
		reverse_proxy app:3000
	}`, []string{openPath + ` … reverse_proxy app:3000 without passing verify_webhook … verify_webhooks /hooks/*; … names=[github stripe] request=hooks.example.com/hooks/github/`}},
	"a handle a sender, and one app behind all": {`hooks.example.com {
		handle /in/stripe {
			verify_webhook stripe whsec_a
			reverse_proxy app:3000
		}
		handle {
			reverse_proxy app:3000
		}
	}`, []string{openPath + ` … verify_webhooks /in/*; … names=[stripe] request=hooks.example.com/in/stripe/`}},
	"a path with everything below it, but not the path itself": {`hooks.example.com {
		verify_webhook /hooks/stripe/* stripe whsec_a
		reverse_proxy app:3000
	}`, []string{openPath + ` … request=hooks.example.com/hooks/stripe`, anyPath}},
	"a handle for everything below a path, but not the path itself": {`hooks.example.com {
		handle /hooks/stripe/* {
			verify_webhook stripe whsec_a {
				name stripe
			}
			reverse_proxy app:3000
		}
		reverse_proxy app:3000
	}`, []string{openPath + ` … request=hooks.example.com/hooks/stripe`}},
	"any path, without a name": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			sender github a {
				path /hooks/github/*
			}
			reverse_proxy app:3000
		}
		respond 404
	}
	other.example.com {
		verify_webhook /in* slack a
		respond 200
	}`, []string{anyPath + ` … names=[github slack]`}},
	"a guard that Caddy sorts behind nested handles": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			handle /hooks/stripe {
				reverse_proxy app:3000
			}
			handle {
				reverse_proxy app:3000
			}
		}
		respond 404
	}`, []string{openPath + ` … request=hooks.example.com/hooks/stripe/`}},
	"a header that decides whether anything is verified": {`hooks.example.com {
		@live header X-Env live
		verify_webhook @live stripe whsec_a
		reverse_proxy app:3000
	}`, []string{openPath + ` … request=hooks.example.com/x`, anyPath}},
	"FastCGI without a bound": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a {
				name stripe
			}
			sender slack a {
				upstream_timeout 2s
			}
			root * /srv
			reverse_proxy app:9000 {
				transport fastcgi {
					read_timeout 60s
					write_timeout 2s
				}
			}
		}
		respond 404
	}`, []string{endless + ` … read_timeout 2s and write_timeout 2s … name=slack`}},
	"FastCGI without a bound for what is sent": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			root * /srv
			php_fastcgi app:9000 {
				read_timeout 60s
			}
		}
		respond 404
	}`, []string{endless + ` … read_timeout 1m0s … name=stripe`}},
	"php for everything": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a
		root * /srv
		php_fastcgi app:9000
	}`, []string{openPath + ` … reverse_proxy app:9000 without`, endless}},
	"files for everything, for a sender that sends GET": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a {
			methods GET
		}
		file_server
	}`, []string{openPath + ` … file_server without`}},
	"a 200 for everything": {`hooks.example.com {
		handle /hooks/stripe {
			verify_webhook stripe whsec_a
			reverse_proxy app:3000
		}
		respond 200
	}`, []string{openPath + ` … respond 200 without`}},
	"an unguarded named route": {`&(hooks) {
		verify_webhook /hooks/stripe stripe whsec_a
		reverse_proxy app:3000
	}
	hooks.example.com {
		invoke hooks
	}`, []string{openPath}},
	"handle_path takes off what the matcher has": {`hooks.example.com {
		handle_path /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{
		openPath + ` … reverse_proxy app:3000 without passing verify_webhook … names=[stripe] request=hooks.example.com/hooks/stripe`,
		deadMatcher + ` … name=stripe matcher=[/hooks/stripe] request=/hooks/stripe path_there=/stripe`,
	}},
	"the same with a guard": {`hooks.example.com {
		handle_path /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{deadMatcher}},
	"a rewrite puts on what the matcher has not": {`hooks.example.com {
		route /hooks/* {
			rewrite * /v1{uri}
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{deadMatcher + ` … path_there=/v1/hooks/stripe`}},
	"a rewrite to one path": {`hooks.example.com {
		route {
			rewrite * /in
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
	}`, []string{deadMatcher + ` … path_there=/in`}},
	"a matcher that leaves out the prefix around it": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{deadMatcher + ` … matcher=[/stripe] `}},
	"other paths fall through": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
	}`, []string{otherPaths + ` … sites=[hooks.example.com] request=hooks.example.com/no-such-path`}},
	"other paths than a block's fall through": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
	}`, []string{otherPaths + ` … sites=[hooks.example.com] request=hooks.example.com/no-such-path`}},
	"near misses fall through": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			reverse_proxy /hooks/stripe app:3000
		}
		handle {
			respond 404
		}
	}`, []string{otherPaths + ` … request=hooks.example.com/hooks/stripe/`}},
	"plain http for one host": {`http://localhost:8080 {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{otherHosts + ` … http://:8080 { respond 404 } sites=[:8080]`}},
	"a prefix taken off beside a block": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			sender github a
			reverse_proxy app:3000
		}
		handle_path /legacy/* {
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{openPath + "reverse_proxy app:3000 with the path … @hooks verify_webhook_prefix /hooks/* … names=[github stripe] request=hooks.example.com/legacy/hooks/stripe path_there=/hooks/stripe"}},
	"two prefixes taken off beside a block": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle_path /a/* {
			handle_path /b/* {
				reverse_proxy other:3000
			}
		}
		route /c/* {
			uri strip_prefix /c
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{openPath + "reverse_proxy app:3000 … request=hooks.example.com/c/hooks/stripe path_there=/hooks/stripe"}},
	"two prefixes taken off before the same app": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle_path /a/* {
			handle_path /b/* {
				reverse_proxy app:3000
			}
		}
		respond 404
	}`, []string{openPath + "reverse_proxy app:3000 … request=hooks.example.com/a/b/hooks/stripe path_there=/hooks/stripe"}},
	"a prefix put on beside a block": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			reverse_proxy app:3000
		}
		handle {
			rewrite * /hooks{uri}
			reverse_proxy app:3000
		}
	}`, []string{openPath + "reverse_proxy app:3000 … request=hooks.example.com/stripe path_there=/hooks/stripe"}},
	"a prefix taken off behind a handler alone": {`hooks.example.com {
		handle_path /hooks/* {
			verify_webhook /stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		reverse_proxy app:3000
	}`, []string{openPath + "reverse_proxy app:3000 … @hooks verify_webhook_prefix /stripe/* … names=[stripe] request=hooks.example.com/stripe path_there=/stripe"}},
	"a prefix taken off in a block alone": {`hooks.example.com {
		verify_webhooks /hooks/* {
			sender stripe whsec_a
			uri strip_prefix /hooks
			reverse_proxy app:3000
		}
		reverse_proxy app:3000
	}`, []string{openPath + "reverse_proxy app:3000 … request=hooks.example.com/stripe path_there=/stripe"}},
	"a handler for a path behind one for all below its prefix": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/* stripe whsec_a {
				name stripe
			}
			verify_webhook /hooks/github github a
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{twoOfThem + ` … names=[github stripe] request=hooks.example.com/hooks/github`}},
	"a handler before a block": {`hooks.example.com {
		route {
			verify_webhook /hooks/* stripe whsec_a {
				name stripe
			}
			verify_webhooks /hooks/* {
				sender github a
				reverse_proxy app:3000
			}
			respond 404
		}
	}`, []string{twoOfThem + ` … names=[github stripe] request=hooks.example.com/hooks/github`}},
	"a handler by header behind one for everything": {`hooks.example.com {
		@github header X-GitHub-Event *
		route {
			verify_webhook stripe whsec_a {
				name stripe
			}
			verify_webhook @github github a {
				name github
			}
			reverse_proxy app:3000
		}
	}`, []string{twoOfThem + ` … names=[github stripe] request=hooks.example.com/x`}},
	"a handler for everything behind one by header": {`hooks.example.com {
		@github header X-GitHub-Event *
		route {
			verify_webhook @github github a {
				name github
			}
			verify_webhook stripe whsec_a {
				name stripe
			}
			reverse_proxy app:3000
		}
	}`, []string{twoOfThem + ` … names=[github stripe] request=hooks.example.com/x`}},
	"nothing behind a handler": {`hooks.example.com {
		handle /hooks/stripe {
			verify_webhook stripe whsec_a
		}
		handle {
			reverse_proxy app:3000
		}
	}`, []string{nothingBehind + ` … names=[stripe] request=hooks.example.com/hooks/stripe`}},
	"nothing behind a handler but for other paths": {`hooks.example.com {
		verify_webhook /hooks/stripe stripe whsec_a
		reverse_proxy /api/* app:3000
	}`, []string{otherPaths, nothingBehind + ` … names=[stripe]`}},
	"nothing behind a handler, in a route with others": {`hooks.example.com {
		route /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/github github a
			header X-Frame-Options deny
		}
		respond /in/* 404
	}`, []string{otherPaths, nothingBehind + ` … names=[github stripe] request=hooks.example.com/hooks/stripe`}},
	"a redirect to https does not take the other hosts": {`http://hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}
	https://www.example.com {
		respond 404
	}`, nil}, // Caddy redirects every other host
	"one name, two keys, one app": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/a standard_webhooks ` + oneSecret + ` {
				name customers
			}
			verify_webhook /hooks/b standard_webhooks ` + anotherSecret + ` {
				name customers
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{sharedScope + ` … name=customers different=[keys]`}},
	"one name, one key, two apps": {`a.example.com {
		verify_webhook github a {
			name github
		}
		reverse_proxy app-a:3000
	}
	b.example.com {
		verify_webhook github a {
			name github
		}
		reverse_proxy app-b:3000
	}`, []string{sharedScope + ` … name=github different=[apps]`}},
	"one named route for two apps": {`{
		auto_https off
	}
	&(hook) {
		verify_webhook github a {
			name github
		}
	}
	http://hooks.example.com {
		handle /shop/* {
			invoke hook
			` + guardLines + `
			reverse_proxy app-a:3000
		}
		handle /billing/* {
			invoke hook
			` + guardLines + `
			reverse_proxy app-b:3000
		}
		respond 404
	}`, []string{"several routes invoke this handler, with different apps … name=github different=[apps]", "requests for other hosts"}},
	"one name, two apps behind one handle": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/a github a {
				name github
			}
			verify_webhook /hooks/b github b {
				name github
			}
			` + guardLines + `
			reverse_proxy /hooks/a app-a:3000
			reverse_proxy /hooks/b app-b:3000
		}
		respond 404
	}`, []string{sharedScope + ` … different=[apps keys]`}},
	"two accounts without names": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/stripe-test stripe whsec_b
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{"2 handlers are called stripe: metrics, status and the mark Webhook-Verified do not tell them apart"}},
	"two accounts, one with the other's name": {`hooks.example.com {
		handle /hooks/* {
			verify_webhook /hooks/stripe stripe whsec_a
			verify_webhook /hooks/stripe-test stripe whsec_b {
				name stripe
			}
			` + guardLines + `
			reverse_proxy app:3000
		}
		respond 404
	}`, []string{"2 handlers are called stripe"}},
}

func TestUnsafePlacementsAreWarnedOf(t *testing.T) {
	for name, c := range unsafePlacements {
		t.Run(name, func(t *testing.T) {
			isWarnedOf(t, c.caddyfile, c.want...)
		})
	}
}
