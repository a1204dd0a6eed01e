package placement

import "github.com/caddyserver/caddy/v2/modules/caddyhttp"

// Budget is how many routes a survey tries.
const Budget = surveyBudget

// SurveyWithin is Survey, and tells how much of the budget is left.
func SurveyWithin(app *caddyhttp.App) (found []Finding, left int, err error) {
	s := surveyOf(app)
	found, err = s.findings()
	return found, s.budget, err
}
