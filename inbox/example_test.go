package inbox_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/bolt"
)

// A gateway that stores each delivery, answers the sender, and then calls the app,
// which fails at first.
func ExampleBox() {
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	engine, err := bolt.Open(bolt.Options{Path: filepath.Join(dir, "inbox.db")})
	if err != nil {
		log.Fatal(err)
	}
	<-engine.Changed() // until the file is open, Accept refuses

	var delivered sync.WaitGroup
	delivered.Add(1)
	box := inbox.NewBox(inbox.Options{
		Engine: engine,
		Deliver: func(_ context.Context, a *inbox.Attempt) inbox.Result {
			fmt.Printf("attempt %d: %s %s\n", a.Entry.Attempts+1, a.Delivery.Method, a.Delivery.Body)
			if a.Entry.Attempts == 0 {
				return inbox.Result{Status: 500}
			}
			return inbox.Result{Status: 200}
		},
		Settled: func(_ *inbox.Attempt, _ inbox.Result, s inbox.Settlement) {
			if s.To == inbox.Delivered {
				delivered.Done()
			}
		},
	})
	box.Configure(map[string]inbox.Policy{"shop": {Retry: []time.Duration{10 * time.Millisecond}}})

	got, err := box.Accept(context.Background(), &inbox.Delivery{
		Key: inbox.Key{1}, Queue: inbox.Queue{Handler: "shop"}, Received: time.Now(),
		Method: "POST", Body: []byte(`{"paid":true}`),
	}, false)
	if err != nil {
		log.Fatal(err) // not stored: forward it now
	}
	fmt.Println("stored:", got.Entry.Key)
	delivered.Wait()
	if err := box.Close(context.Background()); err != nil {
		log.Fatal(err)
	}

	// Unordered output:
	// stored: 01000000000000000000000000000000
	// attempt 1: POST {"paid":true}
	// attempt 2: POST {"paid":true}
}
