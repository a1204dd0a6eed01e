package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// crossCheck measures some rows with the generator and with wrk in turns, and says how
// wrk's throughput compares. Without wrk it says so.
func (e *environment) crossCheck(t *table, set settings) (string, error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		return "The generator was not compared with wrk, which is not installed.\n", nil
	}
	var parts []string
	for _, name := range []string{"plain", "memory"} {
		s, err := e.run(named(name))
		if err != nil {
			return "", err
		}
		defer s.stop()
		var ours, theirs []float64
		for round := range set.rounds {
			for turn := range 2 {
				if (turn+round)%2 == 0 {
					got, err := e.once(t, s, fresh, settings{duration: set.duration})
					if err != nil {
						return "", err
					}
					ours = append(ours, got.Throughput)
					continue
				}
				rate, err := e.wrk(t, s, set)
				if err != nil {
					return "", err
				}
				theirs = append(theirs, rate)
			}
		}
		parts = append(parts, fmt.Sprintf("%s of the throughput on `%s`", paired(theirs, ours), name))
	}
	return "With wrk as the generator: " + strings.Join(parts, ", ") + ".\n", nil
}

var (
	wrkRate  = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkWrong = regexp.MustCompile(`(Non-2xx or 3xx responses|Socket errors).*`)
)

// wrk has wrk send deliveries, and returns how many a second.
func (e *environment) wrk(t *table, s *server, set settings) (float64, error) {
	j := e.job(s, fresh, t.body, t.connections)
	j.First, j.Most = e.serial, 2*s.most(set.duration, t.body) // wrk counts in whole seconds
	e.serial += int64(j.Most)
	script := filepath.Join(e.dir, "wrk.lua")
	if err := writeScript(script, j); err != nil {
		return 0, err
	}
	seconds := max(1, int(set.duration.Seconds()+0.5))
	out, err := exec.Command("wrk", "--threads=1", "--connections="+strconv.Itoa(t.connections), fmt.Sprintf("--duration=%ds", seconds),
		"--script="+script, "http://"+s.address).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	m := wrkRate.FindSubmatch(out)
	if wrong := wrkWrong.Find(out); wrong != nil || m == nil {
		return 0, fmt.Errorf("wrk: %s\n%s", wrong, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// writeScript writes a job's deliveries: their heads beside the Lua, of whose constants
// LuaJIT takes 65,536. Their body is in it once.
func writeScript(path string, j job) error {
	d, err := newDeliverer(j)
	if err != nil {
		return err
	}
	all, err := d.prepare()
	if err != nil {
		return err
	}
	var heads bytes.Buffer
	for _, one := range all {
		fmt.Fprintf(&heads, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n", one.path, host, len(one.body), one.header)
	}
	if err := os.WriteFile(path+".heads", heads.Bytes(), 0o600); err != nil {
		return err
	}
	return os.WriteFile(path, fmt.Appendf(nil, `local body = %q
local head = io.open(%q, "rb"):read("*a"):gmatch(".-\r\n\r\n")
function request()
	return head() .. body
end
`, d.body, path+".heads"), 0o600)
}
