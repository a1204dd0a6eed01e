package providerpage

import (
	"fmt"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// delivery shows a genuine vector, whole, as the shell command that verifies it. A line
// break in it may be part of the body or of a key.
func delivery(p *providers.Provider) []string {
	vec := shown(p)
	if vec == nil {
		return nil
	}
	var lines []string
	secret := vec.Secret
	if secret != "" && !strings.ContainsAny(secret, "0123456789") { // elsewhere it would be the name of one
		lines = append(lines, "printf %s "+quoted(secret)+" > /tmp/"+p.ID+".key")
		secret = "{file./tmp/" + p.ID + ".key}"
	}
	body := "%s " + quoted(vec.Body)
	if strings.Contains(vec.Body, "\r") { // which git and editors change
		body = "%b " + quoted(strings.NewReplacer(`\`, `\\`, "\r", `\r`, "\n", `\n`).Replace(vec.Body))
	}
	lines = append(lines, "printf "+body+" |", "caddy webhook verify "+p.ID+" --body-file -")
	add := func(option, value string) {
		lines[len(lines)-1] += " \\"
		lines = append(lines, "  "+option+" "+quoted(value))
	}
	if vec.Method != "" && vec.Method != append(p.Methods, "POST")[0] {
		add("--method", vec.Method)
	}
	if vec.URL != "" {
		add("--url", vec.URL)
	}
	for _, name := range sorted(vec.Headers) {
		add("-H", name+": "+vec.Headers[name])
	}
	if secret != "" {
		add("--secret", secret)
	}
	if vec.PublicKey != "" {
		add("--public-key", vec.PublicKey)
	}
	params := p.ExampleParams() // those that the vector does not need must have a value, too
	for _, param := range p.Params {
		if value, given := vec.Params[param.Name]; given {
			params[param.Name] = value
		} else if param.Optional {
			delete(params, param.Name)
		}
	}
	for _, name := range sorted(params) {
		add("--param", name+"="+params[name])
	}
	if vec.Now != 0 {
		add("--now", fmt.Sprint(vec.Now))
	}
	return lines
}

// shown returns the first genuine vector, if possible one whose secret does not read as
// the name of one; nil without any.
func shown(p *providers.Provider) (vec *providers.Vector) {
	for i := range p.Vectors {
		v := &p.Vectors[i]
		if v.Expect != providers.Genuine || v.BodyBase64 != nil {
			continue
		}
		if v.Secret == "" || strings.ContainsAny(v.Secret, "0123456789") {
			return v
		}
		if vec == nil {
			vec = v
		}
	}
	return vec
}

// quoted quotes a text for a shell.
func quoted(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// span formats a duration in words: 3 days 12 hours.
func span(d verifier.Duration) string {
	rest := time.Duration(d)
	var parts []string
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		n := rest / unit.size
		rest -= n * unit.size
		switch {
		case n == 1:
			parts = append(parts, "1 "+unit.name)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, unit.name))
		}
	}
	if rest > 0 || len(parts) == 0 {
		return time.Duration(d).String()
	}
	return strings.Join(parts, " ")
}
