package caddymodule

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOneSecretOfTwoSenders: a stranger can turn GitHub's delivery into Gitea's, which is
// the same HMAC in another header. Several endpoints of one sender are no two senders.
func TestOneSecretOfTwoSenders(t *testing.T) {
	const key, one = "7c0e91b4d2f85a36e7d41c9b08f26a53", "two senders have one secret … name="
	for senders, want := range map[string]string{
		"sender github KEY\n sender gitea KEY": one + "gitea other=github",
		"sender github KEY\n sender {\n name acme\n secret KEY\n signature header X-Sig\n delivery_id json id\n }": one + "acme other=github",
		"sender github other-0123456789abcdef {\n secret KEY as old\n }\n sender gitea KEY":                        one + "gitea other=github",
		"sender x_signature KEY\n sender x_twitter KEY":                                                            one + "x_twitter other=x_signature",
		"sender github KEY\n sender gitea another-key-0123456789":                                                  "",
		"sender github KEY\n sender github KEY {\n name second\n path /hooks/second\n }":                           "",
		"sender gitlab KEY\n sender gitlab_token KEY":                                                              "",
		"sender {\n name a\n secret KEY\n signature header X-Sig\n delivery_id json id\n }\n sender {\n name b\n secret KEY\n signature header X-Sig\n delivery_id json id\n }": "",
	} {
		warnings, err := advised(t, strings.ReplaceAll("hooks.example.com {\n verify_webhooks /hooks/* {\n"+senders+"\n reverse_proxy app:3000\n }\n respond 404\n }", "KEY", key))
		warnings = slices.DeleteFunc(warnings, func(w string) bool { return !strings.HasPrefix(w, "two senders") })
		if err != nil || (len(warnings) > 0) != (want != "") || want != "" && (!holdsInOrder(warnings[0], want) || strings.Contains(warnings[0], key)) {
			t.Errorf("%s: %v, %q, want %q", senders, err, warnings, want)
		}
	}
}

// TestOneSecretText: who has a text that one sender decodes and the other does not signs as
// both, and for the gateway where sign_upstream has it.
func TestOneSecretText(t *testing.T) {
	const key, one, signs = "whsec_rT3Vq8Zk1LmNx7Yp2Wc9Bd4Fg6Hj0Ks5Qv8Xz1Ae3Uo=", "two senders have one secret … name=", "sign_upstream is the secret of another handler's sender … name="
	for senders, want := range map[string]string{
		"sender github KEY\n sender standard_webhooks KEY":                                                       one + "standard_webhooks other=github",
		"sender stripe KEY\n sender standard_webhooks BARE":                                                      one + "standard_webhooks other=stripe",
		"sender stripe whsec_another-0123456789 {\n sign_upstream KEY\n }\n sender github KEY":                   signs + "stripe other=github",
		"sender stripe whsec_another-0123456789 {\n sign_upstream KEY\n }\n sender github BARE":                  signs + "stripe other=github",
		"sender github another-0123456789abcdef\n sender standard_webhooks KEY":                                  "",
		"sender stripe whsec_another-0123456789 {\n sign_upstream KEY\n }\n sender github one-more-0123456789ab": "",
	} {
		senders = strings.NewReplacer("KEY", key, "BARE", strings.TrimRight(strings.TrimPrefix(key, "whsec_"), "=")).Replace(senders)
		warnings, err := advised(t, "hooks.example.com {\n verify_webhooks /hooks/* {\n"+senders+"\n reverse_proxy app:3000\n }\n respond 404\n }")
		warnings = slices.DeleteFunc(warnings, func(w string) bool {
			return !strings.HasPrefix(w, "two senders") && !strings.HasPrefix(w, "sign_upstream is")
		})
		if err != nil || (len(warnings) > 0) != (want != "") || want != "" && (!holdsInOrder(warnings[0], want) || strings.Contains(warnings[0], key)) {
			t.Errorf("%s: %v, %q, want %q", senders, err, warnings, want)
		}
	}
}

// TestTenantsOfTwoSendersInOnePlace: a captured delivery to one sender's tenant is turned into
// one of the other's, or of a plain sender whose key file is among the tenants'.
func TestTenantsOfTwoSendersInOnePlace(t *testing.T) {
	const place, folder = "two senders take secrets from one place … name=", "the folder of this handler's keys is that of another handler's tenants … name="
	dir := filepath.ToSlash(secretsOf(t, map[string]string{"acme": "7c0e91b4d2f85a36e7d41c9b08f26a53"}))
	sender := func(provider, name, secret string) string {
		if strings.Contains(secret, "{tenant}") {
			secret = "tenant {path.2}\n secret " + secret
		} else {
			secret = "secret " + secret
		}
		return "sender " + provider + " {\n name " + name + "\n " + secret + "\n }\n"
	}
	for _, c := range []struct{ one, other, want string }{
		{sender("github", "gh", "{file.DIR/{tenant}}"), sender("gitea", "gt", "{file.DIR/{tenant}}"), place + "gt other=gh"},
		{sender("github", "gh", "{file.DIR/{tenant}}"), sender("gitea", "gt", "{file.DIR/acme}"), place + "gt other=gh"},
		{sender("github", "gh", "{file.DIR/acme}"), sender("gitea", "gt", "{file.DIR/{tenant}}"), place + "gt other=gh"},
		{sender("github", "gh", "from http https://app/{tenant}"), sender("gitea", "gt", "from http https://app/{tenant}"), place + "gt other=gh"},
		{sender("github", "gh", "{file.DIR/{tenant}}"), sender("gitea", "gt", "{file.DIR}"), folder + "gt other=gh"},
		{sender("github", "gh", "{file.DIR}"), sender("github", "tenants", "{file.DIR/{tenant}}"), folder + "gh other=tenants"},

		{sender("github", "gh", "{file.DIR/{tenant}}"), sender("github", "gt", "{file.DIR/{tenant}}"), ""},     // two endpoints of one sender
		{sender("github", "gh", "{file.DIR/{tenant}}"), sender("github", "acme", "{file.DIR/acme}"), ""},       // one tenant's older address
		{sender("gitlab", "a", "{file.DIR/{tenant}}"), sender("gitlab_token", "b", "{file.DIR/{tenant}}"), ""}, // one vendor
		{sender("github", "gh", "{file.DIR/gh/{tenant}}"), sender("gitea", "gt", "{file.DIR/gt/{tenant}}"), ""},
		{sender("github", "gh", "{file.DIR/gh/{tenant}}"), sender("gitea", "gt", "{file.DIR/acme}"), ""},
		{sender("github", "gh", "{file.DIR/gh/{tenant}}"), sender("gitea", "gt", "{file.DIR}"), ""},
		{sender("github", "gh", "{file.DIR/{tenant}/gh}"), sender("gitea", "gt", "{file.DIR/{tenant}/gt}"), ""},
		{sender("github", "gh", "from http https://app/gh/{tenant}"), sender("gitea", "gt", "from http https://app/gt/{tenant}"), ""},
		{sender("discord", "dc", "from http https://app/{tenant}"), sender("gitea", "gt", "from http https://app/{tenant}"), ""}, // public keys
	} {
		site := "hooks.example.com {\n verify_webhooks /hooks/* {\n" + c.one + c.other + "\n reverse_proxy app:3000\n }\n respond 404\n }"
		warnings, err := advised(t, strings.ReplaceAll(site, "DIR", dir))
		warnings = slices.DeleteFunc(warnings, func(w string) bool {
			return !strings.HasPrefix(w, "two senders") && !strings.HasPrefix(w, "the folder of this")
		})
		if err != nil || len(warnings) > 1 || (len(warnings) > 0) != (c.want != "") || c.want != "" && !holdsInOrder(warnings[0], c.want) {
			t.Errorf("%s%s: %v, %q, want %q", c.one, c.other, err, warnings, c.want)
		}
	}
}
