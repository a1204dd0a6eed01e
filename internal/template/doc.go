// Package template is the language in which a scheme writes what its sender
// signs: literal text and slots, such as
//
//	v0:{timestamp}:{body}
//	{header:X-Id}.{body|sha256|hex}
//
// Parse splits a text once, when a scheme is compiled; With puts configured
// params in their places. A request then only fills slots: what fills them is
// the caller's business, what a slot is stands in one table (see Facts).
//
// A message must split one way, or bytes of a captured delivery could be passed
// off as another of its fields. Guard notes for each slot what its text must not
// hold, and OneWay says of a text whether it holds that. CoversBody and Proves
// say what a signature over a template shows about a delivery.
//
// The package knows no scheme, no key and no request.
package template
