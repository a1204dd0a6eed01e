package placement

import "github.com/caddyserver/caddy/v2/modules/caddyhttp"

// Budget is the number of routes that a survey tries.
const Budget = surveyBudget

// SurveyWithin is Survey, and returns the remaining budget.
func SurveyWithin(app *caddyhttp.App) (found []Finding, left int, err error) {
	s := surveyOf(app)
	found, err = s.findings()
	return found, s.budget, err
}

// EveryHost is the remedy for other hosts at a listener.
func EveryHost(listen string) string { return everyHost(listen) }
