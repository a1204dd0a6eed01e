// Package verifier decides whether a webhook delivery is genuine.
//
// A Scheme is data: where a sender puts its signature, what bytes it signs and
// how, where its timestamp and delivery id are. Compile reads a scheme into Rules,
// which say what the signature covers. Rules.Verifier binds them to the receiver's
// keys; New does both. Judge then takes a request with its body the whole way. A
// server that must decide before it reads a body takes the same way in two steps:
//
//	check, answer, err := v.Open(request, now) // all that headers alone decide
//	verdict, answer, err := check.Verify(body) // the signature itself
//
// An error of either step is a *Rejection with one Reason of a closed list. An
// answer that is not nil means that the request is a handshake, not a delivery.
// Sign is the inverse and shares the compiled scheme.
//
// # Signed content
//
// What is signed is described by a template: literal text and slots such as
// {timestamp} or {body}. The template is split once, when the scheme is
// compiled; a request fills slots with bytes and is never itself expanded.
// A message must split one way: the text of a slot never holds the byte that
// ends it (the first of the next literal) or, after a body, the one that begins
// it; unix timestamps are digits only, and as many as their unit has where they
// touch something; URLs, and ids that touch a body, hold no JSON punctuation. So
// no byte of a captured JSON body can be passed off as an id, a timestamp or a
// piece of the URL, nor the other way round.
//
// A body that is signed as a JSON string ends itself, and so does a form as PHP
// serializes it. Forms that senders join without separators do not: such a
// scheme says body_unsigned, and proves no id.
//
// # Keys
//
// Every key belongs to one algorithm. What a request says about versions or
// algorithms only selects among those configured. Any key may match any
// candidate signature: that is how both sides rotate without a gap. Texts are
// decoded first; bytes of fixed length are compared in constant time.
//
// A JSON Web Signature carries what it signs (a JWT, whose claims hold a digest of
// the body) or leaves it to the message (detached). Its header may name its
// algorithm, among those of one family that the scheme accepts, and its key, among
// those at hand; addresses of keys in it (jku, x5u, jwk) are not read.
//
// # Handshakes
//
// What a sender asks before it delivers is a list of rules beside the scheme:
// see Handshake. Open answers those that are not signed and that headers alone
// tell, Verify all others.
//
// # Explanations
//
// Explain, in the files explain*.go, says why a delivery is refused. It builds on
// all of the above, and nothing of the above on it.
//
// The package does no I/O, knows no clock and imports neither Caddy nor an HTTP
// server: bytes and headers in, verdict out.
package verifier
