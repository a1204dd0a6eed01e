package verifier

import (
	"strings"
	"testing"
)

// TestKeysBesideTheSignature: {kv:…} is the one value of a key, for any order and
// spaces in the header.
func TestKeysBesideTheSignature(t *testing.T) {
	v := mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"sign"}},
		Message:   StringList{"{kv:env}.{timestamp}.{body}"}, Timestamp: &Timestamp{KV: "t"},
	}, Key{Text: testKey})
	mac := macOf(testKey, "master.1760000000."+testBody)
	shifted := macOf(testKey, "a.b.1760000000."+testBody)
	for header, want := range map[string]string{
		"sign=" + mac + ", env=master, t=1760000000":                   genuine,
		"t=1760000000,env=\"master\",sign=" + mac:                      genuine,
		"sign=" + mac + ",env=main,t=1760000000":                       "signature_mismatch",
		"sign=" + mac + ",env=,t=1760000000":                           "signature_mismatch",
		"sign=" + mac + ",t=1760000000":                                "malformed_signature",
		"sign=" + mac + ",env=master,env=master,t=1760000000":          "malformed_signature",
		"sign=" + mac + ",env=main,env=master,t=1760000000":            "malformed_signature",
		"sign=" + shifted + ",env=a.b,t=1760000000":                    "malformed_signature", // contains the delimiter
		"sign=" + mac + ",env=master,t=1760000000,t=1760000000":        "malformed_timestamp",
		"sign=" + mac + ",env=master,t=1760000001":                     "signature_mismatch",
		"sign=" + mac + ",environment=master,t=1760000000,env":         "malformed_signature",
		"sign=" + strings.Repeat("0", 64) + ",env=master,t=1760000000": "signature_mismatch",
	} {
		expect(t, v, post("X-Signature", header), testBody, want)
	}
}

// TestKeysOfGroups: other signed keys must be the same in each set.
func TestKeysOfGroups(t *testing.T) {
	v := mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"s"}, GroupSeparator: " "},
		Message:   StringList{"{kv:env}.{body}"},
	}, Key{Text: testKey})
	mac := macOf(testKey, "b."+testBody)
	expect(t, v, post("X-Signature", "s="+flip(mac)+",env=b s="+mac+",env=b"), testBody, genuine)
	expect(t, v, post("X-Signature", "s="+flip(mac)+",env=a s="+mac+",env=b"), testBody, MalformedSignature)
	expect(t, v, post("X-Signature", "s="+mac+",env=b,env=a s="+mac+",env=b"), testBody, MalformedSignature)
}

func TestKeysOfPositions(t *testing.T) {
	v := mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "positional", Names: []string{"env", "s"}, Key: StringList{"s"}},
		Message:   StringList{"{kv:env}.{body}"},
	}, Key{Text: testKey})
	mac := macOf(testKey, "master."+testBody)
	expect(t, v, post("X-Signature", "master,"+mac), testBody, genuine)
	expect(t, v, post("X-Signature", "main,"+mac), testBody, SignatureMismatch)
	expect(t, v, post("X-Signature", "master,"+mac+",x"), testBody, MalformedSignature)
}

// TestGroups: one set of pairs for each secret during a rotation.
func TestGroups(t *testing.T) {
	v := mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"v1"}, GroupSeparator: " "},
		Message:   StringList{"{timestamp}.{body}"}, Timestamp: &Timestamp{KV: "t"},
	}, Key{Text: testKey})
	mac := macOf(testKey, "1760000000."+testBody)
	other := macOf("another", "1760000000."+testBody)
	for header, want := range map[string]string{
		"t=1760000000,v1=" + mac:                                                                        genuine,
		"t=1760000000,v1=" + mac + " t=1760000000,v1=" + other:                                          genuine,
		"t=1760000000,v1=" + other + " t=1760000000,v1=" + mac:                                          genuine,
		"t=1760000000,v1=" + other + " t=1760000000,v1=" + flip(mac):                                    "signature_mismatch",
		"t=1760000000,v1=" + other + " t=1760000001,v1=" + mac:                                          "malformed_timestamp",
		"t=1760000000,t=1760000000,v1=" + mac:                                                           "malformed_timestamp",
		"t=1760000000,v1=" + mac + " ":                                                                  "malformed_signature",
		strings.TrimSpace(strings.Repeat("t=1760000000,v1="+other+" ", 33)):                             "malformed_signature",
		strings.TrimSpace(strings.Repeat("t=1760000000,v1="+other+" ", 31)) + " t=1760000000,v1=" + mac: genuine,
	} {
		expect(t, v, post("X-Signature", header), testBody, want)
	}
}

// TestLines: every line of a header with lines "any" is a candidate; any other
// repeated header is malformed.
func TestLines(t *testing.T) {
	edit := func(s *Scheme) {
		s.Signature.Prefix, s.Signature.PrefixOptional, s.Signature.Lines = "sha256=", true, "any"
	}
	v := mustVerifier(t, bare(edit), Key{Text: testKey})
	expect(t, v, post("X-Signature", bodyHex), testBody, genuine)
	expect(t, v, post("X-Signature", flip(bodyHex), "X-Signature", "sha256="+bodyHex), testBody, genuine)
	expect(t, v, post("X-Signature", "sha256="+bodyHex, "X-Signature", flip(bodyHex)), testBody, genuine)
	expect(t, v, post("X-Signature", "garbage", "X-Signature", bodyHex), testBody, genuine)
	expect(t, v, post("X-Signature", "", "X-Signature", ""), testBody, MalformedSignature)
	expect(t, v, post("X-Signature", flip(bodyHex), "X-Signature", flip(bodyHex)), testBody, SignatureMismatch)
	many := make([]string, 0, 66)
	for range 33 {
		many = append(many, "X-Signature", flip(bodyHex))
	}
	expect(t, v, post(many...), testBody, MalformedSignature)

	one := mustVerifier(t, bare(nil), Key{Text: testKey})
	expect(t, one, post("X-Signature", bodyHex, "X-Signature", bodyHex), testBody, MalformedSignature)
}

// TestItemsOfRaw: several signatures in one header.
func TestItemsOfRaw(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Signature.ItemSeparator, s.Signature.Encoding = ",", "base64" }), Key{Text: testKey})
	other := "A" + bodyBase64[1:]
	for header, want := range map[string]string{
		bodyBase64:                genuine,
		other + "," + bodyBase64:  genuine,
		bodyBase64 + ", " + other: genuine,
		other + "," + other:       "signature_mismatch",
		",":                       "malformed_signature",
	} {
		expect(t, v, post("X-Signature", header), testBody, want)
	}
}

// TestBase64OfHex: the known answer is what "openssl dgst … | xxd -p" and
// base64 make of testBody; the second has the space of Realtime Register's own.
func TestBase64OfHex(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Signature.Encoding = "base64-hex" }), Key{Text: testKey})
	for header, want := range map[string]string{
		"MDk5NzUxYjMwNTYyZTE5ZWIzZmQxM2YxMGUwNzUxZDRhYTVjMTQ1MjI1YjUwOTUxNTVkYTE5NGQxN2U3N2JlZQ==": genuine,
		"IDA5OTc1MWIzMDU2MmUxOWViM2ZkMTNmMTBlMDc1MWQ0YWE1YzE0NTIyNWI1MDk1MTU1ZGExOTRkMTdlNzdiZWU=": genuine,
		"MDk5NzUxYjMwNTYyZTE5ZWIzZmQxM2YxMGUwNzUxZDRhYTVjMTQ1MjI1YjUwOTUxNTVkYTE5NGQxN2U3N2Jl":     "malformed_signature",
		"MTk5NzUxYjMwNTYyZTE5ZWIzZmQxM2YxMGUwNzUxZDRhYTVjMTQ1MjI1YjUwOTUxNTVkYTE5NGQxN2U3N2JlZQ==": "signature_mismatch",
		bodyHex:    "malformed_signature",
		bodyBase64: "malformed_signature",
	} {
		expect(t, v, post("X-Signature", header), testBody, want)
	}
}

// TestSeveralValuesOfOneKey: during a rotation, Outpost writes the signatures of all
// secrets after one key, separated by commas
// (https://github.com/hookdeck/outpost/pull/128).
func TestSeveralValuesOfOneKey(t *testing.T) {
	v := mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"v0"}},
		Message:   StringList{"{timestamp}.{body}"}, Timestamp: &Timestamp{KV: "t"},
	}, Key{Text: testKey})
	mac := macOf(testKey, "1760000000."+testBody)
	other := macOf("another", "1760000000."+testBody)
	for header, want := range map[string]string{
		"t=1760000000,v0=" + other + "," + mac:                             genuine,
		"t=1760000000,v0=" + mac + ", " + other:                            genuine,
		"v0=" + other + "," + mac + ",t=1760000000":                        genuine,
		"t=1760000000,v0=" + other + "," + other + "," + mac:               genuine,
		"t=1760000000,v0=" + other + "," + flip(mac):                       "signature_mismatch",
		"t=1760000000," + mac + ",v0=" + other:                             "malformed_signature", // after another key
		mac + ",v0=" + other + ",t=1760000000":                             "malformed_signature", // without a key
		"t=1760000000,v1=" + other + "," + mac:                             "malformed_signature",
		"t=1760000000,v0=" + mac + ",":                                     "malformed_signature",
		"t=1760000000,v0=" + mac + strings.Repeat(","+other, 31):           genuine,
		"t=1760000000,v0=" + mac + strings.Repeat(","+other, 32):           "malformed_signature",
		"t=1760000000,v0=" + other + ",1760000000,1760000001":              "signature_mismatch",
		"t=1760000000,v0=" + mac + ",t,t=1760000001":                       "malformed_timestamp",
		"t=1760000000,v0=" + strings.Repeat("0", 64) + "," + flip(mac)[:9]: "signature_mismatch",
	} {
		expect(t, v, post("X-Signature", header), testBody, want)
	}

	beside := mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"v0"}},
		Message:   StringList{"{kv:env}.{body}"},
	}, Key{Text: testKey})
	empty := macOf(testKey, "."+testBody)
	expect(t, beside, post("X-Signature", "v0="+empty+",env"), testBody, MalformedSignature) // a value of v0, not the key env
}
