// Package check holds tests of what deploy/ gives to Prometheus and Grafana, by
// Prometheus's own code: alerts.yml with its unit tests (promtool's format, read
// here because promtool itself takes minutes to compile), and every query of the
// dashboard. Whether the gateway has the metrics they name is tested in
// integration/deploy_test.go.
//
// It is a Go module of its own, so that Prometheus stays out of the gateway's
// dependencies. What it reads lies outside of it, where go test sees no change:
//
//	go -C deploy/check test -count=1 ./...
package check
