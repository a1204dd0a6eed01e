// Package tenants finds the keys of a handler's tenants: customers whose deliveries
// arrive at one address, each signed with a secret of the customer's own.
//
// A request names its tenant in a [Place]: a segment of its path, a label of its host or
// a header, never in its body. The name is not secret and proves nothing; it only
// selects the keys, and [Name] says which names there can be.
//
// A [Source] knows the keys of each tenant. [File] reads them from a folder, [HTTP] asks
// an endpoint; both are guest modules of Caddy's namespace
// http.handlers.verify_webhook.tenants, where others can add a database or a secret
// manager.
//
// A [Cache] holds what a source answered, compiled: one [keys.Snapshot] a tenant. It
// decides when the source is asked again, and how often strangers can cause that.
//
// The package imports keys, and knows nothing of the gateway.
package tenants
