package page

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// News is what one gateway's stream of deliveries says: a delivery, that some are
// missing, or that the gateway answers no more (Error) or again.
type News struct {
	Gateway  int             `json:"gateway"`
	Delivery json.RawMessage `json:"delivery,omitempty"` // an adminapi.Delivery
	Missed   bool            `json:"missed,omitempty"`
	Error    string          `json:"error,omitempty"`
}

const (
	followPause = time.Second // before a gateway is asked again
	heartbeat   = 15 * time.Second
	longestLine = 1 << 20 // bytes
)

// follow streams the deliveries of all gateways as Server-Sent Events, those that are
// kept first. It asks a gateway that answers no more until it answers again.
func (s *Server) follow(w http.ResponseWriter, r *http.Request) {
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	all := make(chan News)
	for n := range s.gateways {
		go s.followOne(ctx, n, all)
	}
	stream(ctx, w, all)
}

// stream writes news as Server-Sent Events until ctx ends or the browser is gone.
func stream[T any](ctx context.Context, w http.ResponseWriter, all <-chan T) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		if control.Flush() != nil {
			return
		}
		select {
		case news := <-all:
			text, _ := json.Marshal(news) // one line
			if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
				return
			}
		case <-beat.C:
			if _, err := io.WriteString(w, ": still here\n\n"); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// followOne sends the news of one gateway until ctx ends.
func (s *Server) followOne(ctx context.Context, n int, all chan<- News) {
	tell := func(news News) {
		news.Gateway = n
		select {
		case all <- news:
		case <-ctx.Done():
		}
	}
	last := ""
	for ctx.Err() == nil {
		header := http.Header{"Accept": {"text/event-stream"}}
		if last != "" {
			header.Set("Last-Event-ID", last)
		}
		resp, err := s.ask(ctx, n, http.MethodGet, adminapi.DeliveriesPath, header)
		if err != nil {
			tell(News{Error: err.Error()})
		} else {
			tell(News{})
			ended := context.AfterFunc(ctx, func() { _ = resp.Body.Close() })
			Events(resp.Body, func(event, id, data string) bool {
				if event == "" {
					last = id
					tell(News{Delivery: json.RawMessage(data)})
				} else if event == "missed" {
					tell(News{Missed: true})
				}
				return ctx.Err() == nil
			})
			ended()
			_ = resp.Body.Close()
		}
		select {
		case <-time.After(followPause):
		case <-ctx.Done():
		}
	}
}

// Events calls yield for each Server-Sent Event of a stream, until it returns false or
// the stream ends. An event that is cut off does not count, and a line of more than
// 1 MiB ends the stream: no delivery's is that long.
func Events(stream io.Reader, yield func(event, id, data string) bool) {
	var event, id, data string
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		line := lines.Text()
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "event":
			event = value
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if line == "" && data != "" {
				if !yield(event, id, data) {
					return
				}
				event, id, data = "", "", ""
			}
		}
	}
}
