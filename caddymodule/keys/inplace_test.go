package keys

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestRandomSecretsAreNoNames: secrets of generators, with the signs that stand in names of
// types and references, are none, and neither are passphrases.
func TestRandomSecretsAreNoNames(t *testing.T) {
	const (
		lower   = "abcdefghijklmnopqrstuvwxyz"
		letters = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		base62  = letters + "0123456789"
		signs   = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	)
	random := rand.New(rand.NewPCG(1, 2))
	text := func(alphabet string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(b)
	}
	kinds := []func() string{
		func() string { return text(base62+signs, 12+random.IntN(20)) },
		func() string { return text(base62+"._-@", 12+random.IntN(20)) },
		func() string { return text(letters+".", 12+random.IntN(20)) },
		func() string { return text(base62+"%&;", 12+random.IntN(20)) },
		func() string { return "s." + text(base62, 24) + "." + text(base62, 5) },                      // Vault
		func() string { return "SG." + text(base62+"_-", 22) + "." + text(base62+"_-", 43) },          // SendGrid
		func() string { return text(letters, 24) + "." + text(letters, 6) + "." + text(letters, 27) }, // Discord
		func() string {
			return text(lower, 6) + "." + text(lower, 6) + "." + text(lower, 6) + "." + text(lower, 6)
		},
		func() string { return text(lower, 6) + "_" + text(lower, 6) + "_" + text(lower, 6) },
		func() string {
			return text(lower, 6) + "_" + text(lower, 6) + "." + text(lower, 6) + "_" + text(lower, 6) + "." + text(lower, 6)
		},
	}
	for range 4000 {
		for _, kind := range kinds {
			if text := kind(); inPlace.MatchString(text) || isExample(text) || unescaped(text) != text {
				t.Errorf("a random secret is refused: %s", text)
			}
		}
	}
	for _, text := range []string{
		"tulip.ferment.denim.orbit", "Tulip.Ferment.Denim.Orbit", "TulipFermentDenimOrbit", "Tulip-Denied-Invalid-Orbit", "tulip_invalid_denied_orbit", "tulip.ferment@9f31c0a2", "Tulip@9f31c0a2",
		"my_pass.word_two.x", "tulip_ferment.denim_orbit.maple", "tulip_ferment.denim.orbit", "randomly_picked.denim.orbit",
		"&9f31c0&a2d4;7be586", "%9f%31%c0a2d47be586", "^9f31c0a2d47be586^", "9f31c0a2EXAMPLE9f31", "Invalid9f31c0a2Token",
	} {
		if err := checkLiteral(text); err != nil || isExample(text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestNumberedNames: a name of a secret stays one with a number, and causes a warning. The
// defaults of jwt.io are published. Random secrets are neither.
func TestNumberedNames(t *testing.T) {
	for _, text := range []string{"webhook_secret_v2", "github-webhook-secret-v1", "some-32-character-long-secret-key", "my-32-character-ultra-secure-and-ultra-long-secret",
		"production-eu1/stripe/webhook_secret", "deployment2/github/webhook-secret", "test-secret-key-32-bytes-long", "sandbox-secret-key-v1",
	} {
		if err := errors.Join(checkLiteral(text), checkSecret(text)); err != nil || !readsAsName(text) {
			t.Errorf("%s: %v, a name %t; want a warning", text, err, readsAsName(text))
		}
	}
	for _, text := range append(defaultSecrets, "whsec_your-256-bit-secret") {
		if err := checkSecret(text); err != errPublished {
			t.Errorf("%s: %v", text, err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60_000 {
		alphabet := []string{"0123456789abcdef", "abcdefghijklmnopqrstuvwxyz0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"}[i%4]
		secret := make([]byte, 16+random.IntN(25))
		for i := range secret {
			secret[i] = alphabet[random.IntN(len(alphabet))]
		}
		text := []string{"", "whsec_", "sk_live_", "ghs_", "key-"}[i%5] + string(secret)
		if i%7 == 0 {
			text = fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", random.Uint32(), random.IntN(1<<16), random.IntN(1<<12), random.IntN(1<<16), random.Int64N(1<<48))
		}
		if err := errors.Join(checkLiteral(text), checkSecret(text)); err != nil || readsAsName(text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
