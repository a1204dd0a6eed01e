package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// An environment is what all candidates of a run share.
type environment struct {
	dir        string
	caddy      string // the program under test
	self       string // this program, which is also app and generator
	seed       string // of the senders' secrets
	appAddress string
	app        *process
	serial     int64 // no two deliveries of a run have one
}

// newEnvironment builds the gateway, unless it is given, and starts the app.
func newEnvironment(caddy string) (*environment, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	e := &environment{dir: dir, caddy: caddy, seed: rand.Text()}
	if e.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if e.caddy == "" {
		e.caddy = filepath.Join(dir, "caddy")
		if err := build(e.caddy); err != nil {
			return nil, err
		}
	}
	if e.appAddress, err = freeAddress(); err != nil {
		return nil, err
	}
	return e, e.startApp()
}

// build makes a gateway with the settings of xcaddy's build, which .ci/run compiles
// anyway.
func build(caddy string) error {
	command := exec.Command("go", "build", "-o", caddy, "github.com/verify-webhook/caddy-verify-webhook/cmd/caddy")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return nil
}

func (e *environment) startApp() (err error) {
	dir := filepath.Join(e.dir, "app")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	e.app, err = launch("the app", dir, []string{role + "=app"}, e.self, e.appAddress)
	if err != nil {
		return err
	}
	return e.app.listening(e.appAddress)
}

func (e *environment) close() {
	e.app.stop()
	os.RemoveAll(e.dir)
}

// abandon ends everything at once that this process has started.
func (e *environment) abandon() {
	for _, pid := range tree(os.Getpid())[1:] {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
	os.RemoveAll(e.dir)
}

// taken is how many deliveries the app has accepted so far.
func (e *environment) taken() (int, error) {
	c, err := net.Dial("tcp", e.appAddress)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /count HTTP/1.1\r\n\r\n"); err != nil {
		return 0, err
	}
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	text := make([]byte, r.Buffered())
	if _, err := io.ReadFull(r, text); err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// job is what the generator does to a candidate.
func (e *environment) job(s *server, mix string, body, connections int) job {
	j := job{
		Address: s.address, TLS: s.tls, Path: "/hooks/shop", Provider: s.provider, Key: s.key, KeyKind: s.kind, Mix: mix, Body: body,
		OwnBodies: s.provider != "", Tenants: s.tenants, Headers: s.headers, Connections: connections,
		Want: answer{200, len(answered)},
	}
	if j.Provider == "" {
		j.Provider = "standard_webhooks"
	}
	if mix == forged {
		j.Key = e.otherSecret(s.provider, -1)
	}
	switch {
	case s.verifies && mix == duplicate, s.first:
		j.Want.Length = 0
	case s.verifies && mix != fresh, s.refuses:
		j.Want = answer{401, 0}
	}
	return j
}

// A sample is what one round of one candidate gave. Times are in microseconds.
type sample struct {
	Throughput       float64 // deliveries a second
	CPU              float64 // of the gateway, a delivery
	Allocations      float64 // of the gateway, a delivery
	Bytes            float64 // allocated, a delivery
	P50, P99, P999   float64 // at the fixed rate
	Collecting       float64 // CPU of Go's collector, a delivery
	Resident, Dialed float64 // bytes; connections a delivery
}

// usage is what a gateway has used so far.
type usage struct {
	at                 time.Time
	cpu                time.Duration
	collected          collections
	allocations, bytes float64
	taken              int
}

func (e *environment) usage(s *server) (u usage, err error) {
	if u.allocations, u.bytes, err = s.memory(); err != nil {
		return u, err
	}
	if u.taken, err = e.taken(); err != nil {
		return u, err
	}
	if u.collected, err = s.collections(); err != nil {
		return u, err
	}
	u.cpu, err = s.cpu()
	u.at = time.Now()
	return u, err
}

// drive has a generator do a job, and fails unless every answer is the expected one and
// the app got exactly the deliveries that it should get.
func (e *environment) drive(s *server, j job, out *sample) (r result, err error) {
	j.First = e.serial
	e.serial += int64(j.Most)
	g, err := e.prepareGenerator(j)
	if err != nil {
		return r, err
	}
	defer g.end()
	before, err := e.usage(s)
	if err != nil {
		return r, err
	}
	if r, err = g.run(j.Duration); err != nil {
		return r, err
	}
	if len(r.Wrong) > 0 || r.Sent == 0 {
		return r, fmt.Errorf("%s, %s: of %d answers these are not %s: %v; its log ends:\n%s", s.candidate.name, j.Mix, r.Sent, j.Want, r.Wrong, s.lastWords())
	}
	if err := e.arrived(s, j, before.taken, r.Sent); err != nil {
		return r, err
	}
	after, err := e.usage(s)
	if err != nil {
		return r, err
	}
	if out != nil {
		took := r.Took
		if s.first { // its deliveries have to arrive as well
			took = after.at.Sub(before.at)
		}
		n := float64(r.Sent)
		*out = sample{
			Throughput: n / took.Seconds(), CPU: micros(after.cpu-before.cpu) / n,
			Allocations: (after.allocations - before.allocations) / n, Bytes: (after.bytes - before.bytes) / n,
			Collecting: micros(after.collected.cpu-before.collected.cpu) / n,
			Resident:   s.resident(), Dialed: float64(r.Dials) / n,
		}
	}
	return r, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// arrived waits until the app has the deliveries that it should get, and fails if it has
// others.
func (e *environment) arrived(s *server, j job, before, sent int) error {
	want := before
	if (j.Mix == fresh || !s.verifies) && !s.refuses && s.candidate.name != "webhook" {
		want += sent
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got, err := e.taken()
		if err != nil || got == want {
			return err
		}
		if !s.first || got > want || time.Now().After(end) {
			return fmt.Errorf("%s, %s: the app got %d deliveries, not %d", s.candidate.name, j.Mix, got-before, want-before)
		}
	}
}

// A driver is a generator's process.
type driver struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// prepareGenerator starts a generator and returns when it is ready.
func (e *environment) prepareGenerator(j job) (*driver, error) {
	d := &driver{cmd: exec.Command(e.self)}
	d.cmd.Env = append(os.Environ(), role+"=generator")
	d.cmd.Stderr = os.Stderr
	var err error
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.out = bufio.NewReader(out)
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(d.in).Encode(j); err != nil {
		d.end()
		return nil, err
	}
	if line, err := d.out.ReadString('\n'); err != nil || line != "ready\n" {
		d.end()
		return nil, fmt.Errorf("the generator said %q: %w", line, err)
	}
	return d, nil
}

// run lets it go, and returns what it saw.
func (d *driver) run(duration time.Duration) (r result, err error) {
	stuck := time.AfterFunc(duration+patience, func() { _ = d.cmd.Process.Kill() })
	defer stuck.Stop()
	if _, err := io.WriteString(d.in, "go\n"); err != nil {
		return r, err
	}
	text, err := d.out.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("the generator ended early: %w", err)
	}
	return r, json.Unmarshal(text, &r)
}

func (d *driver) end() {
	d.in.Close()
	_, _ = io.Copy(io.Discard, d.out)
	_ = d.cmd.Wait()
}
