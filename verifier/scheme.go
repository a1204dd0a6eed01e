package verifier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Scheme describes how one kind of sender signs. The zero value of each field is its
// default; provider files, JSON and Caddyfile use the same words.
type Scheme struct {
	// Algorithm of the signature. Default: hmac-sha256.
	Algorithm Algorithm `json:"algorithm,omitempty"`
	// Allows a weak algorithm, for a sender that offers nothing better.
	AllowWeak bool `json:"allow_weak,omitempty"`

	// Encoding of the key in a secret's text: utf8, base64, base64url or hex.
	// Default: utf8.
	SecretEncoding string `json:"secret_encoding,omitempty"`
	// Removed from a secret's text, if present, before decoding ("whsec_").
	SecretPrefix string `json:"secret_prefix,omitempty"`
	// Appended to the decoded key (Fitbit signs with the secret and "&").
	SecretSuffix string `json:"secret_suffix,omitempty"`
	// Unicode normalization of a secret's text before decoding: nfkd or none.
	SecretNormalize string `json:"secret_normalize,omitempty"`
	// Hash that makes the key from the decoded one: sha1 or sha256. Default: none.
	KeyDerivation string `json:"key_derivation,omitempty"`

	// Encoding of a public key that is not PEM: base64, base64url or hex of the raw
	// key or a PKIX structure. Default: base64.
	PublicKeyEncoding string `json:"public_key_encoding,omitempty"`
	// A key that begins with this prefix is a public key, even if configured as a
	// secret ("whpk_" of Standard Webhooks).
	PublicKeyPrefix string `json:"public_key_prefix,omitempty"`
	// Removed from a private key's text; only Sign uses private keys.
	PrivateKeyPrefix string `json:"private_key_prefix,omitempty"`

	// Where the delivery names the key that signed it. Keys with an id are then tried
	// only for theirs. Default: every key is tried; a JWS names its key itself (kid).
	KeyID *KeyID `json:"key_id,omitempty"`
	// Where the delivery names the key set of its signer, for senders that are many:
	// with the sets of KeySource. Default: all senders have the same keys.
	KeySet *KeySet `json:"key_set,omitempty"`
	// Where the sender publishes its public keys, if none are configured. This
	// package never fetches them: see Rejection.UnknownKey.
	KeySource *KeySource `json:"key_source,omitempty"`

	// Which certificates a JWS may carry for its key. Default: a JWS's own
	// certificates are ignored.
	X5C *X5C `json:"x5c,omitempty"`

	// Where the signature is and how it is written. Required.
	Signature *Signature `json:"signature,omitempty"`

	// What a signature of RFC 9421 must cover. Only with the syntax http_signature,
	// where it replaces the message.
	HTTPSignature *HTTPSignature `json:"http_signature,omitempty"`

	// Template of the signed content. Several are documented alternatives, tried in
	// turn. Default: "{body}".
	Message StringList `json:"message,omitempty"`
	// Hash of the message that a private key signs in its place, and hashes again as
	// its algorithm says: sha256. Default: the message itself is signed.
	MessageDigest string `json:"message_digest,omitempty"`
	// Confirms that the sender signs less than the body. Without it a message that
	// does not cover the body is an error.
	BodyUnsigned bool `json:"body_unsigned,omitempty"`

	// Required claims of a JWT, each a template: {"payload_hash":
	// "{body|sha256|hex}"}. A name that ends in ? may be absent if the body is empty;
	// a claim with {param:name?} is checked only if the param has a value. exp and
	// nbf are always checked, with a minute of leeway. A name that begins with $. is a
	// path of members, and several separated by | are alternatives: at least one must
	// be present, and each present one must match ("$.data.id|$.summary.id").
	Claims map[string]string `json:"claims,omitempty"`

	// States that the sender signs the body before compressing it: if
	// Content-Encoding says gzip (RFC 9110 §8.4), or is absent and the body is a gzip
	// stream, {body} is the decompressed body: at most 8 MiB and, above 64 KiB, 50 times
	// the compressed bytes. The app receives the body as sent.
	BodyDecoded bool `json:"body_decoded,omitempty"`

	// Formats of all bodies of the sender, told by the first byte that is not blank: json
	// ({ or [) and xml (<). Set it if the key signs other texts too, such as a user's token
	// or a redirect: a stranger who has one could post it as a body. Default: any text.
	BodyFormat StringList `json:"body_format,omitempty"`

	// The field of a form body that holds the JSON, for senders that wrap it.
	// Default: the body is the JSON.
	BodyForm string `json:"body_form,omitempty"`

	// The timestamp of the delivery attempt. Default: none.
	Timestamp *Timestamp `json:"timestamp,omitempty"`
	// Largest accepted difference between timestamp and now, both ways. Default: 5m.
	Tolerance *Duration `json:"tolerance,omitempty"`

	// The id of the delivery. Default: none.
	DeliveryID *DeliveryID `json:"delivery_id,omitempty"`
	// Members of a JSON body that vary between attempts of one delivery, such as a
	// counter ("[*].attemptNumber"), and signed headers and keys beside the signature
	// that do ("header:X-Nonce", "kv:nonce"). They are ignored when copies are
	// recognised; so are timestamp, id, key id and Date without being listed.
	Varies StringList `json:"varies,omitempty"`

	// Origin (scheme, host, port) under which the sender knows the receiver, for
	// schemes that sign the URL: "https://hooks.example.com", or with the credentials
	// that the sender was given and signs: "https://user:pw@hooks.example.com". Path
	// and query are the request's. Default: as received.
	PublicURL string `json:"public_url,omitempty"`
	// Other forms of the URL that this sender may have signed, for {url} and
	// {url_no_query}: port (without its port, or with the default one), no_slash (a
	// root without its slash), unescaped (some characters of the query unescaped, as
	// HubSpot does), reencoded (the query decoded and escaped again). Default: only
	// as received.
	URLForms StringList `json:"url_forms,omitempty"`

	// Headers that a delivery must carry in addition to its signature.
	RequireHeader []RequiredHeader `json:"require_header,omitempty"`
	// Required values in the body, by JSON path: one of the values, which may hold
	// {param:name} ("TopicArn": "{param:topic_arn}"). Only what the message covers
	// proves anything.
	RequireJSON map[string]StringList `json:"require_json,omitempty"`

	// Values of {param:name}. They come from the configuration, not from the scheme's
	// file, and are never parsed as templates.
	Params map[string]string `json:"-"`

	// Handshakes that the receiver answers itself. A provider file has them next to
	// its scheme: see Handshake.
	Handshakes []Handshake `json:"-"`
}

// DefaultTolerance is the default of Scheme.Tolerance: five minutes, as in the
// Standard Webhooks reference libraries.
const DefaultTolerance = 5 * time.Minute

// Signature describes where the signatures are, usually in headers, and their syntax.
type Signature struct {
	// Names of the headers.
	Header StringList `json:"header,omitempty"`
	// Instead of a header: a parameter of the URL's query, a field of a form body,
	// paths in a JSON body, or the entire body (a JWT). Exactly one of the five is
	// set, or form and json for a sender that posts either: the field is read if
	// Content-Type says that the body is a form, the paths otherwise. Each present
	// path may match.
	Query string     `json:"query,omitempty"`
	Form  string     `json:"form,omitempty"`
	JSON  StringList `json:"json,omitempty"`
	Body  bool       `json:"body,omitempty"`
	// With several headers: first_present (the first one present decides), any (each
	// one present may match) or all (all must be present and match). Default: any.
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

	// Text before the signature (raw). Required unless optional.
	Prefix         string `json:"prefix,omitempty"`
	PrefixOptional bool   `json:"prefix_optional,omitempty"`

	// Keys whose values are signatures (kv, positional; with keyed_list the accepted
	// key ids, default all). Every occurrence is a candidate; with kv, so is each
	// part without = after one.
	Key StringList `json:"key,omitempty"`
	// The name of each position (positional), for key and timestamp.
	Names []string `json:"names,omitempty"`
	// Separates pairs (kv, positional). Default: ",".
	PairSeparator string `json:"pair_separator,omitempty"`
	// Separates sets of pairs (kv) that differ only in the signature: one for each
	// secret during a rotation. Default: the value is one set.
	GroupSeparator string `json:"group_separator,omitempty"`

	// "any": the header may appear on several lines, each of which may match
	// (rotation). Default: such a delivery is malformed.
	Lines string `json:"lines,omitempty"`

	// Separates items (list: space; keyed_list: "&"; raw: a single item).
	ItemSeparator string `json:"item_separator,omitempty"`
	// Separates an item's version, key id or algorithm from its signature (list: ",";
	// keyed_list: "|"; algorithm_prefix: "=").
	VersionSeparator string `json:"version_separator,omitempty"`
	// Accepted versions or algorithm names with their algorithms (list,
	// algorithm_prefix). Others are skipped: a sender cannot choose weaker ones. For
	// a JWS the names of RFC 7518, for http_signature those of RFC 9421; default: that
	// of the scheme's algorithm.
	Accept map[string]Algorithm `json:"accept,omitempty"`

	// Required members of a JWS's header, which Sign sets: {"tl_version": "2"}.
	JWSHeader map[string]string `json:"jws_header,omitempty"`

	// Accepts a detached JWS only if it signs the message unencoded: b64 false of RFC
	// 7797, marked as critical or not. Set it for each such sender: if its key also
	// signs tokens, every token would otherwise pass as a delivery of its claims.
	Unencoded bool `json:"unencoded,omitempty"`

	// Encoding of the signature: hex (either case), base64 (standard or URL alphabet,
	// padding optional), base64url, or base64-hex (base64 of the hex text). With
	// http_signature only base64url, for a sender that writes byte sequences in it.
	// Default: hex.
	Encoding string `json:"encoding,omitempty"`
}

// KeyID says where the id of the signing key is.
type KeyID struct {
	// Exactly one of these.
	Header string `json:"header,omitempty"`
	JSON   string `json:"json,omitempty"` // path in the body
}

// KeySet says where the address of the signer's key set is: in a header that is a
// dictionary (RFC 9651 §3.2), as UCP-Agent: profile="https://…".
type KeySet struct {
	Header string `json:"header"`
	Member string `json:"member"` // of the dictionary, a string
}

// KeySource says where a sender publishes its public keys: exactly one of jwks, sets
// and certificate_hosts.
type KeySource struct {
	// Address of a JSON Web Key Set (RFC 7517 §5).
	JWKS string `json:"jwks,omitempty"`
	// Addresses of the key sets of all senders that the receiver trusts, one each. A
	// delivery is verified with the keys of the set that it names (Scheme.KeySet), and
	// any other address is malformed_signature: the request must not choose the key.
	Sets []string `json:"sets,omitempty"`
	// The delivery's key id is the address of a certificate on one of these hosts,
	// where * matches a cloud region (us-east-1): "sns.*.amazonaws.com". Any other
	// address is malformed_signature: the request must not choose the key.
	CertificateHosts []string `json:"certificate_hosts,omitempty"`
	// The delivery's key id is only the path of a file on the one host, and the file may
	// be a public key in PEM, which is fetched again after a day.
	Paths bool `json:"paths,omitempty"`
	// Regular expression that the address's whole path must match, so that only the
	// sender's certificates are fetched. Default: any path.
	CertificatePath string `json:"certificate_path,omitempty"`
}

// X5C describes the certificate chain that a JWS carries for its key (RFC 7515 §4.1.6):
// at most four certificates, each followed by that of its issuer, that lead to a known
// root and are valid at the time that the JWS states. Nothing is fetched, so
// revocation is not checked.
type X5C struct {
	// SHA-256 fingerprints, in hex, of the accepted roots, one of which must be the
	// last of the chain. Certificates that the receiver gives as public keys replace
	// them. Default: the receiver gives the certificate of a root.
	Roots StringList `json:"roots,omitempty"`
	// OID of an extension that the certificate of the key must have, by which the
	// issuer states its purpose. Default: none.
	Leaf string `json:"leaf,omitempty"`
	// OID of an extension that each certificate between that and the root must have;
	// there must be one. Default: none.
	Intermediate string `json:"intermediate,omitempty"`
}

// Timestamp says where the time of a delivery attempt is.
type Timestamp struct {
	// Exactly one of these, or form and json as in Signature. Of several headers, the
	// first one present is read.
	Header StringList `json:"header,omitempty"`
	KV     string     `json:"kv,omitempty"`    // key beside the signature (kv, positional; created of http_signature)
	JSON   string     `json:"json,omitempty"`  // path in the body
	Form   string     `json:"form,omitempty"`  // field of a form body
	Claim  string     `json:"claim,omitempty"` // of a JWT

	// s, ms, us (unix time in digits), rfc3339, iso8601_utc (no zone means UTC)
	// or http_date (RFC 9110 §5.6.7). Default: s.
	Unit string `json:"unit,omitempty"`
	// Some kinds of deliveries have no timestamp: their age is not checked. Only where
	// nobody can remove it: with json in a body that the message covers, and for the
	// created of http_signature.
	Optional bool `json:"optional,omitempty"`
	// Off disables the freshness check; the source still fills {timestamp}.
	Off bool `json:"off,omitempty"`
}

// DeliveryID says where the id of a delivery is.
type DeliveryID struct {
	// Exactly one of these, or form and json as in Signature. Of several headers, the
	// first one present is read.
	Header StringList `json:"header,omitempty"`
	JSON   string     `json:"json,omitempty"`  // path in the body
	Form   string     `json:"form,omitempty"`  // field of a form body
	Claim  string     `json:"claim,omitempty"` // of a JWT
	// Off disables the use as an id; the source still fills {id}.
	Off bool `json:"off,omitempty"`
}

// RequiredHeader is a header that a delivery must carry exactly once, with one of the
// values. "*" accepts any value.
type RequiredHeader struct {
	Name   string     `json:"name"`
	Values StringList `json:"values"`
}

// HTTPSignature says which signatures of RFC 9421 are accepted (syntax
// http_signature). Others are ignored: proxies and networks may add theirs.
type HTTPSignature struct {
	// Label of the signature in both headers; others are ignored. Default: any, and both
	// headers must have the same labels.
	Label string `json:"label,omitempty"`
	// Components that every signature must cover, in any order and among others:
	// fields in lower case, a member of one that is a dictionary
	// (signature-agent;key="sig1"), and @method, @target-uri, @authority, @scheme,
	// @request-target, @path, @query, @query-param;name="x". Sign covers these.
	// Without body_unsigned, content-digest must be among them: nothing else covers
	// the body. Default: @method, @target-uri, content-digest.
	Components StringList `json:"components,omitempty"`
	// Parameters that every signature must have besides created, which timestamp
	// requires: expires, nonce, keyid, alg, tag or others. Default: none.
	Params StringList `json:"params,omitempty"`
	// Value of the parameter tag, which identifies an application. Default: any.
	Tag string `json:"tag,omitempty"`
	// Accepted digests of Content-Digest (RFC 9530), sha-256 and sha-512. At least
	// one must be present, and all present must match the body. Default: both.
	Digests StringList `json:"digests,omitempty"`
}

// StringList is a list of strings that JSON may also write as a single string.
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

// MarshalJSON writes a list of one element as a string.
func (l StringList) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]string(l))
}

// Duration is a time.Duration written as text in JSON ("5m"); numbers are
// nanoseconds, as in Caddy's JSON.
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
