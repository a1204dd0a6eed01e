// Package check tests the Prometheus and Grafana files in deploy/ with Prometheus's own
// code: alerts.yml with its unit tests (in promtool's format, run here because promtool
// takes minutes to compile), and every query of the dashboard.
// integration/deploy_test.go tests whether the gateway has the metrics they use.
//
// It is a separate Go module, which keeps Prometheus out of the gateway's dependencies.
// It reads files outside the module, whose changes go test does not see:
//
//	go -C deploy/check test -count=1 ./...
package check
