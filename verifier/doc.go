// Package verifier decides whether a webhook delivery is genuine.
//
// A Scheme is data: where a sender puts its signature, timestamp and delivery id, and
// which bytes it signs and how. Compile turns a scheme into Rules, which say what the
// signature covers; Rules.Verifier adds the receiver's keys; New does both. Judge
// verifies a request with its body. A server that must decide before it reads the body
// does the same in two steps:
//
//	check, answer, err := v.Open(request, now) // all that headers alone decide
//	verdict, answer, err := check.Verify(body) // the signature itself
//
// The error of either step is a *Rejection with one Reason of a closed list. A non-nil
// answer means that the request is a handshake, not a delivery. Sign is the inverse of
// Verify over the same compiled scheme.
//
// # Signed content
//
// The signed content is described by a template: literal text and slots such as
// {timestamp} or {body}. The template is parsed once, when the scheme is compiled; a
// request only fills slots with bytes and is never expanded itself. There must be one
// way to split a message: the text of a slot never holds the byte that ends it (the
// first of the next literal) or, after a body, the one that begins it; unix timestamps
// have only digits, and, next to other text, exactly as many as their unit has; URLs,
// and ids next to a body, hold no JSON punctuation. So no byte of a captured JSON body
// can pass as part of an id, a timestamp or the URL, nor the other way round.
//
// A body signed as a JSON string marks its own end, and so does a form as PHP
// serializes it. Forms that senders join without separators do not: such a scheme sets
// body_unsigned and proves no id.
//
// # Keys
//
// Every key belongs to one algorithm. Versions or algorithms in a request only select
// among those configured. Any key may match any candidate signature, so that both
// sides can rotate without a gap. Signatures are decoded first; bytes of fixed length
// are compared in constant time.
//
// A JSON Web Signature contains the signed content (a JWT, whose claims hold a digest
// of the body) or omits it (detached: the message). Its header may name an algorithm,
// among those of one family that the scheme accepts, and a key, among those configured;
// keys and addresses of keys in it (jwk, jku, x5u) are ignored. Certificates in it (x5c)
// are read only if the scheme says so, and trusted only if they lead to a root that the
// scheme or the receiver names.
//
// # Handshakes
//
// Requests that a sender makes before it delivers are rules next to the scheme: see
// Handshake. Open answers unsigned ones that the headers identify, Verify all others.
//
// # Explanations
//
// Explain, in the files explain*.go, says why a delivery is refused. It uses all of the
// above; nothing above uses it.
//
// The package does no I/O, reads no clock and imports neither Caddy nor an HTTP server:
// bytes and headers in, verdict out.
package verifier
