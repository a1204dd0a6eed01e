// Package template is the language in which a scheme writes what its sender
// signs: literal text and slots, such as
//
//	v0:{timestamp}:{body}
//	{header:X-Id}.{body|sha256|hex}
//
// Parse splits a text once, when a scheme is compiled; With puts configured
// params in their places. A request then only fills slots. The caller fills them;
// what a slot is, one table says: see Facts.
//
// A message must split one way, or bytes of a captured delivery could be passed
// off as another of its fields. Guard notes for each slot what its text must not
// hold, and OneWay reports whether a text is free of it. CoversBody and Proves
// say what a signature over a template proves of a delivery.
//
// The package knows no scheme, no key and no request.
package template
