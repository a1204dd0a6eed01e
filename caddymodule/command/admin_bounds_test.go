package command

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestAnswersOfTheAdminEndpointAreBounded: what answers at a wrong address may never end,
// or never begin.
func TestAnswersOfTheAdminEndpointAreBounded(t *testing.T) {
	before := answerTime
	answerTime = time.Second
	t.Cleanup(func() { answerTime = before })
	sent := 0
	endless := func(w http.ResponseWriter, r *http.Request) {
		for blank := make([]byte, 1<<20); r.Context().Err() == nil; {
			if n, err := w.Write(blank); err != nil {
				return
			} else {
				sent += n
			}
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"an answer without end": endless,
		"an answer that stops": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			defer server.CloseClientConnections()
			f := &adminFlags{address: strings.TrimPrefix(server.URL, "http://")}
			if _, _, err := read[any](f, http.MethodGet, "/"); err == nil {
				t.Error("no error")
			}
		})
	}
	if sent > 2*largestAnswer {
		t.Errorf("%d MiB were read", sent>>20)
	}
}
