package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
)

// An oracle is a process that has SDKs and answers one question a line.
type oracle struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

type question struct {
	SDK      string                 `json:"sdk"`
	Provider string                 `json:"provider"`
	Op       string                 `json:"op"` // version, sign, verify
	Delivery *differential.Delivery `json:"delivery,omitempty"`
}

type answer struct {
	Version  string              `json:"version"`
	Calls    string              `json:"calls"`
	Headers  map[string][]string `json:"headers"` // that the SDK's signature adds
	Body     *string             `json:"body"`    // where the body carries the signature
	Accepted bool                `json:"accepted"`
	Why      string              `json:"why"`
	Error    string              `json:"error"`
}

func start(dir string, env []string, name string, args ...string) (*oracle, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &oracle{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

func (o *oracle) stop() {
	o.in.Close()
	io.Copy(io.Discard, o.out)
	o.cmd.Wait()
}

func (o *oracle) ask(s *subject, op string, d *differential.Delivery) (*answer, error) {
	line, err := json.Marshal(question{s.sdk, s.provider, op, d})
	if err != nil {
		return nil, err
	}
	if _, err := o.in.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	reply, err := o.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("the process with the SDKs ended: %w", err)
	}
	a := new(answer)
	if err := json.Unmarshal(reply, a); err != nil {
		return nil, fmt.Errorf("%w: %.200s", err, reply)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a, nil
}
