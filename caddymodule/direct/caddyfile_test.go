package direct

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func adapt(t *testing.T, proxy string) (string, error) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(":80 {\n"+proxy+"\n}"), nil)
	return string(config), err
}

func TestTransportHasANameAndNothingElse(t *testing.T) {
	config, err := adapt(t, "reverse_proxy app:3000 {\ntransport verify_webhook\n}")
	if err != nil || !strings.Contains(config, `"transport":{"protocol":"verify_webhook"}`) {
		t.Errorf("%s, %v", config, err)
	}
}

func TestOptionsAndOtherProtocolsAreErrors(t *testing.T) {
	for proxy, want := range map[string]string{
		"reverse_proxy app:3000 {\ntransport verify_webhook fast\n}":                  "transport verify_webhook has no options, but got fast; use transport http",
		"reverse_proxy app:3000 {\ntransport verify_webhook {\nread_timeout 1s\n}\n}": "transport verify_webhook has no options, but got read_timeout; use transport http",
		"reverse_proxy https://app {\ntransport verify_webhook\n}":                    "does not speak TLS; use transport http",
		"reverse_proxy app:80 https://app {\ntransport verify_webhook\n}":             "does not speak TLS; use transport http",
		"reverse_proxy h2c://app:3000 {\ntransport verify_webhook\n}":                 "does not speak HTTP/2; use transport http",
		"reverse_proxy unix+h2c//run/app.sock {\ntransport verify_webhook\n}":         "does not speak HTTP/2; use transport http",
	} {
		if config, err := adapt(t, proxy); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q\n%s", proxy, err, want, config)
		}
	}
}
