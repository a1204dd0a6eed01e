package keys

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// unrenderedTexts is what renderers leave in a file when they do not run or fail.
var unrenderedTexts = []string{
	"${STRIPE_SECRET}", "whsec_${STRIPE_SECRET}", "${A}${B}", "${STRIPE_SECRET:-}", "\"${X}\"", "{$X}", "{{ .Values.secret }}", "whsec_{{ .Data.key }}", "{{ with secret \"x\" }}\n{{ .Data.key }}\n{{ end }}",
	"{env.SECRET}", "{file./run/x}", "whsec_{env.X}", "ENC[AES256_GCM,data:abc,iv:x]", "$ANSIBLE_VAULT;1.1;AES256\n6231\n3464", "-----BEGIN PGP MESSAGE-----", "-----BEGIN AGE ENCRYPTED FILE-----",
	"<no value>", "<no value>\n", "op://vault/item/field", "ref+vault://secret/x#y", "********", "whsec_****", "whsec_1a2b••••••••", "●●●●●●●●9f3c",
	"${{ secrets.GITHUB_SECRET }}", "whsec_${{ secrets.X }}", "#{{ x }}", `<%= ENV["SECRET"] %>`, "<%- secret -%>", "{% if x %}\n9f31c0a2\n{% endif %}", "{# secret #}", "[[ .Secret ]]", "[[ with secret ]]", "<< pipeline.parameters.secret >>", "((github-secret))",
	"#{Octopus.Secret}", "#{SECRET}#", "%{hiera}", "@{secret}", "$(SECRET)", "$(github.secret)", "$STRIPE_SECRET", "%SECRET%", "@SECRET@", "__WEBHOOK_SECRET__", "<GITHUB_SECRET>", "<your secret here>", "<path:secret/data/x#y>",
	"!Ref Secret", "!Sub '${Secret}'", "!vault |", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/x)", "arn:aws:secretsmanager:eu-west-1:1:secret:x", "projects/p/secrets/github/versions/latest", "awssm://x", "awsssm:///x", "gcpsm://x", "akv://v/x",
	"***REDACTED***", "[REDACTED]", "<redacted>", "REDACTED", "**MASKED**", "[FILTERED]", "(sensitive value)", "(known after apply)", "<sensitive>", "***", "<hidden by policy>",
	"undefined", "null", "None", "nil", "NaN", "(null)", "<nil>", "<none>", "not set", "\"null\"", "%!s(<nil>)", "%!s(MISSING)", "[object Object]", "map[key:9f31c0a2]", "<Secret object at 0x7f3c>", "System.Security.SecureString", "System.Object[]",
}

// failedTexts is what else is in a file when the program that was to write it fails, or
// the machine does.
var failedTexts = []string{
	"\x00\x00", strings.Repeat("\x00", 64), "PATH=/bin\x00SECRET=a\x00", "\x1f\x8b\x08\x00\x00secret", "b0VIM 9.1\x00\x00secret", "9f31c0a2\xff\xfe47be586",
	"\ufeff9f31c0a2d47be586", "\xff\xfe9\x00f\x003\x00",
	`{"errors":["permission denied"]}`, `{"errors":[]}`, `{"secret":"9f31c0a2d47be586"}`, "{}", "[]", `["9f31c0a2d47be586"]`,
	"<html><body><h1>503 Service Unavailable</h1></body></html>", "<!DOCTYPE html>", `<?xml version="1.0"?><Error/>`,
	`Error from server (NotFound): secrets "webhook" not found`, "Error reading secret/data/x: permission denied", "An error occurred (AccessDeniedException) when calling the GetSecretValue operation",
	`Unable to locate credentials. You can configure credentials by running "aws configure".`, "cat: /run/x: No such file or directory", "bash: vault: command not found",
	"curl: (22) The requested URL returned error: 404", "404 page not found", "Permission denied", "Forbidden", "bad gateway",
	"502 Bad Gateway", "HTTP/1.1 503 Service Unavailable", "503: Service Unavailable", "no healthy upstream", "connection refused", "Connection reset by peer", "context deadline exceeded", "i/o timeout", "stream timeout",
	"upstream connect error or disconnect/reset before headers", "Vault is sealed", "No value found at secret/data/github", "Traceback (most recent call last):", "default backend - 404", "rate limit exceeded", "Login required",
	"Secret does not exist", "token expired", "invalid token", "broken pipe", "Segmentation fault (core dumped)", "You are not currently signed in. Please run `op signin --help`",
	"# rotated 2026", "// rotated 2026", "/* rotated 2026 */", "<!-- rotated key -->", "% rotated 2026 key", "ResourceNotFoundException", "AccessDeniedException: not you", "com.amazonaws.services.secretsmanager.model.ResourceNotFoundException", "com.amazon.coral.service#UnrecognizedClientException", "ParameterNotFound", "DecryptionFailure",
	"ExpiredTokenException", "SecretNotFound", "NoSuchKey", "AccessDenied", "KeyVaultErrorException", "InternalServiceError", "PERMISSION_DENIED", "NOT_FOUND: Secret", "UNAUTHENTICATED", "AADSTS70021: No matching record", "error: EOF", "Error", "Fatal: boom", "missing client token",
	`{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find it."}`, `{"error":{"code":"SecretNotFound"`, "{\"error\":\"x\"}\n{\"error\":\"y\"}", `[{"code":404`,
	`{"keys":null}`, `{"keys":null,"message":"x"}`, `{"kty":null}`, `{"keys":["github"]}`, `{"keys":{}}`, `{"keys":[]}`, `{"keys":[{}]}`, `{"kty":""}`, `{"message":"Unauthorized"}`, "“{\"success\":false}”",
	"<Error><Code>AccessDenied</Code></Error>", `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error/></ErrorResponse>`, "<p>Forbidden</p>", "error=invalid_client&error_description=x",
	"ServiceUnavailable", "TooManyRequests", "MethodNotAllowed", "service_unavailable", "not-found", "error-secret-not-found", "secret_not_found", "vault-is-sealed", "no-healthy-upstream",
	"bash: line 1: vault: command not found", "curl: (6) Could not resolve host: vault.internal", "dial tcp 10.0.0.7:8200: connect: connection refused", `Get "https://vault.internal/v1/secret": dial tcp: lookup vault.internal: no such host`,
	"503 Backend fetch failed", "Error 503 Backend fetch failed", "RBAC: access denied", "upstream request timeout", "no available server", "error code: 1020", "Permission denied (publickey).", "Host key verification failed.",
	"Error making API request.", "The connection to the server localhost:8080 was refused - did you specify the right host or port?", "error: You must be logged in to the server (Unauthorized)", "Error response from daemon: no such secret",
	"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", "jq: error (at <stdin>:1): Cannot iterate over null (null)", "ERROR: (gcloud.secrets.versions.access) NOT_FOUND: Secret not found",
	"[ERROR] 2026/11/30 could not read secret op://vault/item/field: not signed in", "ERROR! Decryption failed", "KeyError: 'GITHUB_SECRET' not found", "gpg: decryption failed: No secret key", "Failed to get the data key required to decrypt the SOPS file.",
	"ERROR: column \"secret\" does not exist", "The token has expired", "No such file or directory",
	"ls: cannot access '/run/x': No such file or directory", "curl: (22) The requested URL returned error: 404", "curl: (7) Failed to connect to vault port 8200 after 0 ms: Couldn't connect to server", "curl: (28) Operation timed out after 5000 milliseconds",
	"curl: (60) SSL certificate problem: unable to get local issuer certificate", "wget: server returned error: HTTP/1.1 404 Not Found", "wget: unable to resolve host address ‘vault.internal’", "ssh: Could not resolve hostname vault: Name or service not known",
	"zsh: command not found: vault", "sh: 1: vault: not found", "python3: can't open file '/x.py': [Errno 2] No such file or directory", "jq: parse error: Invalid numeric literal at line 1, column 4", "base64: invalid input", "docker: Error response from daemon: no such secret",
	"bash: /usr/bin/vault: cannot execute binary file: Exec format error", "Error from server (NotFound): secrets \"github\" not found", "Permission denied, please try again.", "Access denied. Your token has expired", "Unable to locate credentials. You can configure credentials by running \"aws configure\".",
	"-- old key of github", "; old key of github", "REM rotated key",
}

// TestUnrenderedFile: what a renderer left is no key: at the start there is none, and in
// a running gateway the last good one stays, and a failure is counted.
func TestUnrenderedFile(t *testing.T) {
	path := write(t, "9f31c0a2d47be586", t.TempDir(), "key")
	r := newTestSet(verifier.Scheme{})
	r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
	r.mustRefresh(t)
	for _, text := range slices.Concat(unrenderedTexts, failedTexts) {
		r.failures = 0
		write(t, text, path)
		r.mustRefresh(t)
		r.mustRefresh(t)
		if r.keyOf(t, "9f31c0a2d47be586") == "" || r.keyOf(t, strings.TrimSpace(text)) != "" {
			t.Errorf("%q replaced a good key", text)
		}
		if problems := strings.Join(r.Problems(), ""); r.failures == 0 || slices.Contains(unrenderedTexts, text) != strings.Contains(problems, "no program has replaced") || strings.Contains(problems, text) {
			t.Errorf("%q: %d failures, problems %q", text, r.failures, problems)
		}

		fresh := newTestSet(verifier.Scheme{})
		fresh.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
		fresh.mustRefresh(t)
		if fresh.Snapshot() != nil {
			t.Errorf("%q is a key at the start", text)
		}
		if _, err := Resolve("{file." + path + "}"); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q is a password: %v", text, err)
		}
	}
	write(t, "0c5de9c1a2d47be5", path)
	r.mustRefresh(t)
	r.mustRefresh(t)
	if r.keyOf(t, "0c5de9c1a2d47be5") == "" || len(r.Problems()) != 0 {
		t.Errorf("the rendered file is not used: %q", r.Problems())
	}
}

// TestUnrenderedLine: nor is it one beside a good key, or in a variable.
func TestUnrenderedLine(t *testing.T) {
	for _, text := range slices.Concat(unrenderedTexts, failedTexts) {
		if strings.ContainsAny(text, "\n\x00") || strings.Contains(text, "-----BEGIN") {
			continue
		}
		path := write(t, "9f31c0a2d47be586\n"+text+"\n", t.TempDir(), "key")
		r := newTestSet(verifier.Scheme{})
		r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
		r.mustRefresh(t)
		if r.Snapshot() != nil && r.keyOf(t, text) != "" {
			t.Errorf("%q is a key on a line of its own", text)
		}
		if !isComment(text) && checkLiteral(text) == nil && utf8.ValidString(text) && !strings.HasPrefix(text, "\ufeff") {
			t.Errorf("%q is a key in a variable", text)
		}
	}
	for _, text := range []string{"{\"kty\":\"OKP\"}\n{\"kty\":\"OKP\"}", "{\n \"kty\": \"OKP\"\n}", `{"keys":[{"kty":"OKP"}]}`} {
		if err := CheckRendered(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestPassphrasesAreNoErrors: one with a word of an error is none, unless it begins as an
// error of a usual program, and nor is a random secret.
func TestPassphrasesAreNoErrors(t *testing.T) {
	for _, text := range []string{
		"not found in the wild 7Hk2", "Can't stop the feeling 2024", "failure is not an option, said Kranz", "no such luck on a tuesday", "Cannot buy me love 7Hk2", "tulip panic denim orbit", "fatal attraction, maple timeout",
		"access to the tulip garden denied", "refused denied expired tulip", "tulip timeout exceeded", "404 tulips denied in denim", "cannot find my keys 7Hk2", "secret tulip not found", "you are not my orbit 7Hk2", "motto: tulip ferment", "unable to sleep since 1999",
		"Motto: you cannot step twice in the same river 42!", "Access denied, said the dragon 7Hk2", "Cannot get the user out of bed 44", "error-handling-badger-lamp-wood", "error handling badger lamp wood", "Error in the garden 7Hk2", "Error! Said the dragon 7Hk2",
		"Motto: nothing is invalid, everything is denied", "Session expired! Dragons awake 7Hk2", "Can't find the key to my heart, it's 42", "connection-refused-by-a-dragon", "Connection closed while the cat sleeps 7Hk2",
		"Tulip-Denied-Invalid-Orbit", "tulip_invalid_denied_orbit", "tulip-not-found", "key-9f31c0a2-expired", "permission-9f31c0a2-denied", "9f31c0a2d47be586: tulip", "Error9f31c0a2d47be586",
	} {
		if err := errors.Join(checkLiteral(text), checkSecret(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("tulip ferment denim orbit maple anchor violet panic fatal error denied refused expired invalid timeout failed exception not found no such cannot")
	for range 20_000 { // of words, the first of them no error's
		phrase := []string{words[random.IntN(7)] + []string{"", ","}[random.IntN(2)]}
		for range 2 + random.IntN(4) {
			phrase = append(phrase, words[random.IntN(len(words))])
		}
		if text := strings.Join(phrase, []string{" ", "-", "_"}[random.IntN(3)]); isError(text) {
			t.Errorf("a passphrase is refused: %s", text)
		}
	}
}

// TestOddSecretsInFiles: a file may hold a real secret that only resembles one of them,
// or one that looks guessable, which is a problem to show.
func TestOddSecretsInFiles(t *testing.T) {
	for text, problem := range map[string]bool{
		"p{9f}$31c0a2d{47be586": false, "a${!#}9f31c0a2d47be586": false, "x{{9f31c0}a2d47be586": false, "**9f31c0a2d47be586**": false,
		"<9f31c0a2d47be586>": false, "{9f31c0a2d47be586}": false, "[9f31c0a2d47be586]": false, "pässwort-9f31c0a2d47be586": false, "My own signing phrase": false,
		"$9f31c0a2d47be586": false, "%9f31c0a2d47be586%": false, "@9f31c0a2d47be586@": false, "__9f31c0a2d47be586__": false, "((9f31c0a2d47be586": false, "Redacted-9f31c0a2d47be586": false, "map[9f31c0a2d47be586": false,
		"NullPointer9f31c0a2d47be586": false, "errorX9f31c0a2d47be586": false, "{\"9f31c0a2d47be586": false, "nonesuch-9f31c0a2d47be586": false, "Error9f31c0a2d47be586": false, "tulip ferment denim orbit": false,
		"<9f31c0>a2d47be586": false, "<a>9f31c0a2d47be586": false, "“9f31c0a2d47be586”": false, "9f31c0a2:d47be586": false, "\"{9f31c0a2d47be586": false,
		"“changeme”": true, "\tSTRIPE_SECRET": true, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  -": true, "dW5kZWZpbmVkCg==": true,
		"Google.Cloud.SecretManager.V1.SecretPayload": true, "com.example.Secret@7a81197d": true, "random_password.github.result": true, "&lt;webhook-secret&gt;": true, "SignatureDoesNotMatch": true, "AKIAIOSFODNN7EXAMPLE": true, "PG5vIHZhbHVlPg==": true,
		"Tulip.Ferment.Denim.Orbit": false, "tulip_ferment_denim_orbit": false, "&lt9f31c0a2d47be586&gt": false, "%3C9f31c0a2d47be586": false,
		"YOUR_SECRET_HERE": true, "REPLACE_ME": true, "changeme": true, "stripe_secret": true, "vault:secret/data/x#y": true,
	} {
		path := write(t, text, t.TempDir(), "key")
		r := newTestSet(verifier.Scheme{})
		r.mustAdd(t, "secret", useSecret, "", Value{Value: "{file." + path + "}"})
		r.mustRefresh(t)
		r.warnOfDoubtful()
		if r.keyOf(t, text) == "" {
			t.Errorf("%s is refused", text)
		}
		problems := strings.Join(r.Problems(), "")
		if strings.Contains(problems, "may sign with it") != problem || strings.Contains(problems, text) {
			t.Errorf("%s: problems %q", text, problems)
		}
		if warned := slices.ContainsFunc(r.messages(), func(m string) bool { return strings.HasPrefix(m, "warn "+guessableFile) }); warned != problem {
			t.Errorf("%s: warned %t, want %t", text, warned, problem)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 40_000 { // every sign of a keyboard
		secret := make([]byte, 16+random.IntN(48))
		for i := range secret {
			secret[i] = byte('!' + random.IntN('~'-'!'+1))
		}
		if CheckRendered(string(secret)) != nil {
			t.Errorf("a random secret is refused: %s", secret)
		}
	}
}
