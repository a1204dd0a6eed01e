package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// A delivery is a request as a sender makes it, but for its address.
type delivery struct {
	header []byte // lines with their ends
	body   []byte
}

// A signer makes a delivery with an id and a time of its own.
type signer func(id string, at time.Time, body []byte) delivery

// Mixes are what the deliveries of a run have in common.
const (
	fresh     = "fresh"     // genuine and new
	forged    = "forged"    // signed with another key
	unsigned  = "unsigned"  // without a signature
	stale     = "stale"     // genuine an hour ago
	duplicate = "duplicate" // genuine, and accepted before
)

// prepare makes deliveries with the serial numbers from first on, in parallel.
func prepare(sign signer, mix string, first int64, n, size int) []delivery {
	body, at := bodyOf(size), time.Now()
	if mix == stale {
		at = at.Add(-time.Hour)
	}
	all := make([]delivery, n)
	var done sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		done.Go(func() {
			for i := w; i < n; i += workers {
				all[i] = sign("msg_"+strconv.FormatInt(first+int64(i), 36), at, body)
			}
		})
	}
	done.Wait()
	return all
}

// bodyOf makes a JSON event of a size.
func bodyOf(size int) []byte {
	const begin, end = `{"type":"order.paid","note":"`, `"}`
	filler := []byte("Thirty bytes of a longer note. ")
	fill := max(0, size-len(begin)-len(end))
	body := append([]byte(begin), bytes.Repeat(filler, fill/len(filler)+1)[:fill]...)
	return append(body, end...)
}

// standardWebhooks signs as Standard Webhooks say: id, time and body.
func standardWebhooks(secret []byte, mix string) signer {
	if mix == forged {
		secret = append([]byte("another "), secret...)
	}
	return func(id string, at time.Time, body []byte) delivery {
		stamp := strconv.FormatInt(at.Unix(), 10)
		h := fmt.Sprintf("Content-Type: application/json\r\nUser-Agent: bench\r\nWebhook-Id: %s\r\nWebhook-Timestamp: %s\r\n", id, stamp)
		if mix != unsigned {
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(id + "." + stamp + "."))
			mac.Write(body)
			h += "Webhook-Signature: v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + "\r\n"
		}
		return delivery{header: []byte(h), body: body}
	}
}
