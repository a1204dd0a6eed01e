package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// patience bounds what should take a moment.
const patience = 30 * time.Second

// A process is a server that was started.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    string // a file with all that it said
	exited chan struct{}
}

// launch starts a program in a folder, which also gets its log.
func launch(name, dir string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, "log"), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// listening waits until an address accepts connections.
func (p *process) listening(address string) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s has ended:\n%s", p.name, p.lastWords())
		default:
		}
	}
	return fmt.Errorf("%s does not listen on %s:\n%s", p.name, address, p.lastWords())
}

func (p *process) lastWords() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-2000):])
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// cpu is the CPU time of the process and its children so far, to the nanosecond: over
// their threads, schedstat of proc(5).
func (p *process) cpu() (all time.Duration, err error) {
	for _, pid := range tree(p.cmd.Process.Pid) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if len(files) == 0 && pid == p.cmd.Process.Pid {
			return 0, fmt.Errorf("%s: no /proc/%d/task/*/schedstat: CPU times need Linux", p.name, pid)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil { // the thread has ended
				continue
			}
			used, _, _ := strings.Cut(string(text), " ")
			n, err := strconv.ParseInt(used, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			all += time.Duration(n)
		}
	}
	return all, nil
}

// tree returns a process and all below it.
func tree(pid int) []int {
	all := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, tree(n)...)
			}
		}
	}
	return all
}

// resident is the memory of the process and its children, in bytes.
func (p *process) resident() (all float64) {
	for _, pid := range tree(p.cmd.Process.Pid) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range bytes.Lines(text) {
			if value, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
				kb, _ := strconv.ParseFloat(strings.Fields(string(value))[0], 64)
				all += kb * 1024
			}
		}
	}
	return all
}

// freeAddress returns an address of this machine on which nothing listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
