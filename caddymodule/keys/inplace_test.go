package keys

import (
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
