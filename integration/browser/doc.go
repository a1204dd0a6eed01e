// Package browser tests the operator's page, the inspector of "caddy webhook listen" and
// the page of the catalogue in headless Chromium, the first two in front of a real gateway.
// It is a module of its own, so that what drives the browser is no dependency of the
// gateway.
//
//	go test ./... -screenshots ../../docs/images
//
// also takes the pictures of the docs.
package browser
