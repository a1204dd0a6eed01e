// Package template is the language in which a scheme writes the signed content:
// literal text and slots, such as
//
//	v0:{timestamp}:{body}
//	{header:X-Id}.{body|sha256|hex}
//
// Parse parses a text once, when a scheme is compiled; With inserts configured params.
// For a request the caller only fills the slots; Facts describes each.
//
// There must be one way to split a message: otherwise bytes of a captured delivery
// could pass as another of its fields. Guard determines for each slot what its text
// must not hold, and OneWay checks a text. CoversBody and Proves say what a signature
// over a template proves about a delivery.
//
// The package knows no scheme, no key and no request.
package template
