package verifier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Scheme describes how one kind of sender signs. The zero value of every field
// means its default; the same words serve provider files, JSON and Caddyfile.
type Scheme struct {
	// Algorithm of the signature. Default: hmac-sha256.
	Algorithm Algorithm `json:"algorithm,omitempty"`
	// Allows an algorithm that is weak, for a sender that offers nothing better.
	AllowWeak bool `json:"allow_weak,omitempty"`

	// How the text of a secret becomes the bytes of a key: utf8, base64,
	// base64url or hex. Default: utf8.
	SecretEncoding string `json:"secret_encoding,omitempty"`
	// Taken off a secret's text where present, before decoding ("whsec_").
	SecretPrefix string `json:"secret_prefix,omitempty"`
	// Appended to the decoded key (Fitbit signs with the secret and "&").
	SecretSuffix string `json:"secret_suffix,omitempty"`
	// Unicode form a secret's text is brought into before decoding: nfkd or none.
	SecretNormalize string `json:"secret_normalize,omitempty"`
	// Hash of the decoded key that is the real key: sha1 or sha256. Default: none.
	KeyDerivation string `json:"key_derivation,omitempty"`

	// How a public key that is not PEM is written: base64, base64url or hex.
	// The bytes are the raw key or a PKIX structure. Default: base64.
	PublicKeyEncoding string `json:"public_key_encoding,omitempty"`
	// A key whose text begins so is a public key, even where it is given as a
	// secret ("whpk_" of Standard Webhooks).
	PublicKeyPrefix string `json:"public_key_prefix,omitempty"`
	// Taken off a private key's text; only a Signer uses private keys.
	PrivateKeyPrefix string `json:"private_key_prefix,omitempty"`

	// Which key made the signature, where the delivery says so. Keys that have an
	// id are then tried only for theirs. Default: every key is tried; a JWS names
	// its key itself (kid).
	KeyID *KeyID `json:"key_id,omitempty"`
	// Where the sender publishes its public keys, for a receiver that is given
	// none. This package never fetches: see Rejection.UnknownKey.
	KeySource *KeySource `json:"key_source,omitempty"`

	// Where the signature is and how its header is written. Required.
	Signature *Signature `json:"signature,omitempty"`

	// What a signature of RFC 9421 must cover. It goes with the signature's syntax
	// http_signature, and stands in the place of a message.
	HTTPSignature *HTTPSignature `json:"http_signature,omitempty"`

	// Template of the signed content. Several are documented alternatives: each
	// is tried. Default: "{body}".
	Message StringList `json:"message,omitempty"`
	// States that the sender really signs less than the body. Without it a
	// message that does not cover the body is an error.
	BodyUnsigned bool `json:"body_unsigned,omitempty"`

	// What claims of a JWT must hold, each a template: {"payload_hash":
	// "{body|sha256|hex}"}. One whose name ends in ? may be absent where the body
	// is empty; one with {param:name?} counts where the param has a value. exp and nbf are always heeded, with a minute of leeway.
	Claims map[string]string `json:"claims,omitempty"`

	// States that the sender signs the body before it compresses it: where
	// Content-Encoding says gzip (RFC 9110 §8.4), or nothing and the body is a gzip
	// stream all the same, {body} is what comes out of it, at most 8 MiB. The app gets what was sent, and so the same out of it.
	BodyDecoded bool `json:"body_decoded,omitempty"`

	// The field of a form body whose value is the JSON that paths lead into, for
	// senders that wrap it so. Default: the body is the JSON.
	BodyForm string `json:"body_form,omitempty"`

	// Where the time of the attempt is. Default: the scheme has none.
	Timestamp *Timestamp `json:"timestamp,omitempty"`
	// How far the timestamp may be from now, both ways. Default: 5m.
	Tolerance *Duration `json:"tolerance,omitempty"`

	// Where the id of the delivery is. Default: the scheme has none.
	DeliveryID *DeliveryID `json:"delivery_id,omitempty"`
	// Members of a JSON body that vary between the attempts of one delivery, such
	// as a counter ("[*].attemptNumber"): they do not tell deliveries apart.
	Varies StringList `json:"varies,omitempty"`

	// Origin (scheme, host, port) that the sender believes it calls, for schemes
	// that sign the URL: "https://hooks.example.com", or with the credentials that
	// the sender was given and signs: "https://user:pw@hooks.example.com". Path and
	// query are those of the request. Default: as received.
	PublicURL string `json:"public_url,omitempty"`
	// Other ways to write the URL that this sender may have signed, of {url} and
	// {url_no_query}: port (without its port, or with the default one), no_slash (a
	// root without its slash), unescaped (some characters of the query unescaped,
	// as HubSpot does), reencoded (the query decoded and escaped again). Default: as
	// received alone.
	URLForms StringList `json:"url_forms,omitempty"`

	// Headers that a delivery must carry besides its signature.
	RequireHeader []RequiredHeader `json:"require_header,omitempty"`
	// What must stand in the body, by JSON path: one of the values, in which
	// {param:name} may stand ("TopicArn": "{param:topic_arn}"). It proves
	// something only of what the message covers.
	RequireJSON map[string]StringList `json:"require_json,omitempty"`

	// Values for {param:name}. They come from configuration, not from the
	// scheme's file, and are never parsed as templates.
	Params map[string]string `json:"-"`

	// Handshakes that the receiver answers itself. They stand beside the scheme
	// in a provider's file: see Handshake.
	Handshakes []Handshake `json:"-"`
}

// DefaultTolerance is how far a timestamp may be from now where the scheme says
// nothing: five minutes, as in the Standard Webhooks reference libraries.
const DefaultTolerance = 5 * time.Minute

// Signature describes what carries the signatures: headers, as a rule.
type Signature struct {
	// Names of the headers.
	Header StringList `json:"header,omitempty"`
	// Where no header carries it: a parameter of the URL's query, a field of a
	// form body, paths in a JSON body, or the body whole (a JWT). Exactly one of
	// the five is set, or form and json, of a sender that posts either: the field
	// counts where Content-Type says that the body is a form, the paths elsewhere.
	// Each path that is there may match.
	Query string     `json:"query,omitempty"`
	Form  string     `json:"form,omitempty"`
	JSON  StringList `json:"json,omitempty"`
	Body  bool       `json:"body,omitempty"`
	// With several headers: first_present (the first that is there decides), any
	// (each one that is there may match) or all (each one must be there and
	// match). Default: any.
	Match string `json:"match,omitempty"`

	// How the value is written. Default: raw.
	//
	//	raw               the signature, after an optional prefix
	//	kv                t=1492774577,v1=5257a8…,v1=88a022…
	//	list              v1,g0hM9S… v1a,hnO3f9…
	//	positional        1492774577,5257a8…
	//	keyed_list        key-id|5257a8…&key-id-2|88a022…
	//	algorithm_prefix  sha256=5257a8…
	//	jwt               a compact JWS of claims (RFC 7519), after an optional prefix
	//	jws_detached      a JWS without its content, which is the message (RFC 7515 appendix F)
	//	http_signature    sig1=:pxcQw6G3…=: of RFC 9421, beside Signature-Input
	Syntax string `json:"syntax,omitempty"`

	// Text before the signature (raw). Required in the value unless optional.
	Prefix         string `json:"prefix,omitempty"`
	PrefixOptional bool   `json:"prefix_optional,omitempty"`

	// Keys whose values are signatures (kv, positional; with keyed_list the key
	// ids that count, default all). Every occurrence is a candidate, and with kv
	// so is every part without = that follows one.
	Key StringList `json:"key,omitempty"`
	// What each position means (positional), so that key and timestamp can name it.
	Names []string `json:"names,omitempty"`
	// Between pairs (kv, positional). Default: ",".
	PairSeparator string `json:"pair_separator,omitempty"`
	// Between sets of pairs (kv) that say the same but for the signature: one for
	// each secret while secrets rotate. Default: the value is one set.
	GroupSeparator string `json:"group_separator,omitempty"`

	// What a header on several lines means: "any", each line may match (rotation).
	// Default: the delivery is malformed.
	Lines string `json:"lines,omitempty"`

	// Between items (list: space; keyed_list: "&"; raw: one item alone).
	ItemSeparator string `json:"item_separator,omitempty"`
	// Between an item's version, key id or algorithm and its signature
	// (list: ","; keyed_list: "|"; algorithm_prefix: "=").
	VersionSeparator string `json:"version_separator,omitempty"`
	// Versions or algorithm names that count, each with its algorithm (list,
	// algorithm_prefix). Others are skipped: a sender cannot choose weaker ones.
	// For a JWS the names of RFC 7518; default: that of the scheme's algorithm.
	Accept map[string]Algorithm `json:"accept,omitempty"`

	// What members of a JWS's header must be, and are made by Sign: {"tl_version": "2"}.
	JWSHeader map[string]string `json:"jws_header,omitempty"`

	// A detached JWS counts only if it signs the message as it is: b64 false of RFC
	// 7797, marked as critical or not. Say so for each sender that does: of a key
	// that signs tokens too, every token would otherwise be a delivery of its claims.
	Unencoded bool `json:"unencoded,omitempty"`

	// How signature bytes are written: hex (either case), base64 (standard or
	// URL alphabet, padding optional), base64url, or base64-hex (base64 of the
	// hex text). Default: hex.
	Encoding string `json:"encoding,omitempty"`
}

// KeyID says where the id of the key is that signed the delivery.
type KeyID struct {
	// Exactly one of these.
	Header string `json:"header,omitempty"`
	JSON   string `json:"json,omitempty"` // path in the body
}

// KeySource says where a sender publishes its public keys: exactly one of these.
type KeySource struct {
	// Address of a JSON Web Key Set (RFC 7517 §5).
	JWKS string `json:"jwks,omitempty"`
	// The delivery's key id is the address of a certificate on one of these
	// hosts, where * stands for the name of a cloud's region (us-east-1):
	// "sns.*.amazonaws.com". Any other address is malformed_signature: whoever
	// names the key must not choose it.
	CertificateHosts []string `json:"certificate_hosts,omitempty"`
	// The form of such an address's path, a regular expression of the whole of
	// it: what no certificate of the sender's is called is never asked for.
	// Default: any path.
	CertificatePath string `json:"certificate_path,omitempty"`
}

// Timestamp says where the time of a delivery attempt is.
type Timestamp struct {
	// Exactly one of these, or form and json as of the signature. Several headers
	// are alternatives: the first present counts.
	Header StringList `json:"header,omitempty"`
	KV     string     `json:"kv,omitempty"`    // key beside the signature (kv, positional; created of http_signature)
	JSON   string     `json:"json,omitempty"`  // path in the body
	Form   string     `json:"form,omitempty"`  // field of a form body
	Claim  string     `json:"claim,omitempty"` // of a JWT

	// s, ms, us (unix time in digits), rfc3339, iso8601_utc (no zone means UTC)
	// or http_date (RFC 9110 §5.6.7). Default: s.
	Unit string `json:"unit,omitempty"`
	// Deliveries of some kinds have none: their age is not checked. Only with json
	// in a body that the message covers, from which nobody can take it.
	Optional bool `json:"optional,omitempty"`
	// Off ends the check of freshness; the source still fills {timestamp}.
	Off bool `json:"off,omitempty"`
}

// DeliveryID says where the id of a delivery is.
type DeliveryID struct {
	// Exactly one of these, or form and json as of the signature. Several headers
	// are alternatives: the first present counts.
	Header StringList `json:"header,omitempty"`
	JSON   string     `json:"json,omitempty"`  // path in the body
	Form   string     `json:"form,omitempty"`  // field of a form body
	Claim  string     `json:"claim,omitempty"` // of a JWT
	// Off ends the use as an id; the source still fills {id}.
	Off bool `json:"off,omitempty"`
}

// RequiredHeader is a header that a delivery must carry once, with one of the
// values. The value "*" stands for any.
type RequiredHeader struct {
	Name   string     `json:"name"`
	Values StringList `json:"values"`
}

// HTTPSignature says what a signature of RFC 9421 must be like to count, beside
// the syntax http_signature. Others are as if they were not there: proxies and
// networks on the way may add theirs.
type HTTPSignature struct {
	// Label of the signature in both headers. Default: any.
	Label string `json:"label,omitempty"`
	// Components that every signature must cover, in any order and beside others:
	// fields in lower case, and @method, @target-uri, @authority, @scheme,
	// @request-target, @path, @query, @query-param;name="x". Sign covers these.
	// Without body_unsigned, content-digest must be among them: nothing else
	// covers the body. Default: @method, @target-uri, content-digest.
	Components StringList `json:"components,omitempty"`
	// Parameters that every signature must have besides created, which timestamp
	// asks for: expires, nonce, keyid, alg, tag or others. Default: none.
	Params StringList `json:"params,omitempty"`
	// Value of the parameter tag, which tells applications apart. Default: any.
	Tag string `json:"tag,omitempty"`
	// Digests of Content-Digest (RFC 9530) that count, sha-256 and sha-512. One
	// must be there, and each that is there must be the body's. Default: both.
	Digests StringList `json:"digests,omitempty"`
}

// A Handshake is a request with which a sender asks whether the address is its
// receiver's, and the answer that it wants. It is no delivery: nothing is
// forwarded for it. A provider's file has a list of them; the first that a
// request is decides.
type Handshake struct {
	// What such a request looks like.
	When HandshakeWhen `json:"when"`
	// It is signed as deliveries are, and answered only once its signature is
	// verified. Of one that is not signed anybody can be the sender.
	Signed bool `json:"signed,omitempty"`
	// The optional param of the provider's that must have a value for this rule
	// to count. Default: it always does.
	OptIn string `json:"opt_in,omitempty"`
	// An address that must be requested before the answer. Default: none.
	Visit *HandshakeVisit `json:"visit,omitempty"`
	// What it must hold besides; one that does not is refused. Values may be
	// {param:name} and are compared in constant time.
	Require HandshakeFields `json:"require,omitzero"`
	// Form of the values that the answer repeats or signs, by source
	// ("query:crc_token"): a regular expression (RE2) for the whole value.
	// Default: up to 512 visible ASCII characters. Whatever the form, a value is
	// ASCII without < > " ' & and \, spaces apart, and no longer.
	Pattern map[string]string `json:"pattern,omitempty"`
	Respond HandshakeResponse `json:"respond"`
}

// HandshakeWhen tells a handshake from a delivery.
type HandshakeWhen struct {
	Method StringList `json:"method,omitempty"` // default: POST
	// Of a ping, which the sender does not sign as it signs deliveries: absent (it
	// has no signature) or any (its signature may be one that none of the keys
	// made). What a key has signed is then a delivery and never this handshake.
	// Default: the rule does not look at signatures.
	Signature string `json:"signature,omitempty"`
	HandshakeFields
}

// HandshakeFields are parameters of the URL, headers, JSON paths and form fields
// of the body with the values that they may have, each of them there once. The
// value "*" stands for any but an empty one. Form fields are looked for where
// Content-Type says that the body is a form.
type HandshakeFields struct {
	Query  map[string]StringList `json:"query,omitempty"`
	Header map[string]StringList `json:"header,omitempty"`
	JSON   map[string]StringList `json:"json,omitempty"`
	Form   map[string]StringList `json:"form,omitempty"`
}

// HandshakeResponse is the answer. In its texts, those inside JSON too, stand
// the slots {query:name} {header:Name} {json:path} {param:name}, and
// {hmac:SOURCE|hex} (base64, base64url): the HMAC of a source, such as
// query:crc_token, with the key and algorithm of deliveries.
type HandshakeResponse struct {
	Status int               `json:"status,omitempty"` // 2xx; default: 200
	Header map[string]string `json:"header,omitempty"` // only headers that "when" names
	Text   string            `json:"text,omitempty"`   // a body of text/plain
	JSON   json.RawMessage   `json:"json,omitempty"`   // or one of application/json
}

// A HandshakeVisit is an address that the sender wants requested before it
// sends: whoever holds the Answer does that, and answers once it worked. It
// goes with signed alone, and with hosts of the sender's own: nobody else can
// point the receiver at an address.
type HandshakeVisit struct {
	// Path in the body of the address, which the signature covers: https, path /.
	JSON string `json:"json"`
	// Hosts, as in KeySource.
	Hosts []string `json:"hosts"`
}

// StringList is a list of strings that JSON may also write as one string.
type StringList []string

// UnmarshalJSON reads a string or a list of strings.
func (l *StringList) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*l = StringList{s}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// MarshalJSON writes a list of one as a string.
func (l StringList) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]string(l))
}

// Duration is a time.Duration that JSON writes as text ("5m"); numbers are
// nanoseconds, as in Caddy's own JSON.
type Duration time.Duration

// UnmarshalJSON reads "5m" or nanoseconds.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err == nil {
		v, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("duration %q: write it like 90s, 5m or 72h", s)
		}
		*d = Duration(v)
		return nil
	}
	var n int64
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("duration: write it like \"90s\", \"5m\" or \"72h\"")
	}
	*d = Duration(n)
	return nil
}

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}
