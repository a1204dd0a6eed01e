package integration

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// awkwardPassword is hard to write in a shell and in redis.conf.
const awkwardPassword = "rN8v Q2\"k'L5$x\\w#Z7"

// redisCommand starts the Redis of the manifest with the manifest's own command, on
// this machine: with the Secret in a folder, and its files in others.
func redisCommand(t testing.TB, secrets string) *exec.Cmd {
	t.Helper()
	needs(t, "redis-server")
	c := manifests(t)["StatefulSet/webhook-redis"].Spec.Template.Spec.Containers[0].Command
	script := strings.NewReplacer("/run/secrets/", filepath.ToSlash(secrets)+"/", "/tmp/", t.TempDir()+"/", "--dir /data", "--dir "+t.TempDir()+` "$@"`).Replace(c[2])
	return exec.Command(c[0], c[1], script, c[0])
}

// startRedisCommand returns the address of the manifest's Redis.
func startRedisCommand(t testing.TB, secrets string) string {
	t.Helper()
	cmd, address := redisCommand(t, secrets), freeAddress()
	_, port, _ := net.SplitHostPort(address)
	cmd.Args = append(cmd.Args, "--bind", "127.0.0.1", "--port", port)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	eventually(t, "Redis listens", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Redis does not start: %v\n%s", err, log.String())
		default:
		}
		c, err := net.Dial("tcp", address)
		return err == nil && c.Close() == nil
	})
	return address
}

// TestKubernetesRedisPassword: a password may have any character. Redis accepts it as
// the gateway sends it, and nothing else.
func TestKubernetesRedisPassword(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"plain": "rN8vQ2kL5", "spaces": " rN8v Q2kL5 ", "double quotes": `rN8v"Q2kL5"`, "single quotes": `'rN8v'Q2kL5`,
		"dollars": "rN8v$Q2kL5$(id)`id`", "backslashes": `rN8v\Q2kL5\x41\`, "hash": "#rN8vQ2kL5", "beyond ASCII": "rN8vÜ2kL5\x01",
		"a line break at the end": "rN8vQ2kL5\n", "of Windows": "rN8vQ2kL5\r\n", "a line break inside": "rN8v\nEOF\nQ2kL5", "hex digits": "0a0d",
	} {
		t.Run(name, func(t *testing.T) {
			secrets := t.TempDir()
			mountSecret(t, filepath.Join(secrets, "redis"), map[string]string{"password": file})
			address := startRedisCommand(t, secrets)
			auth := func(password string) string {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := fmt.Fprintf(c, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password); err != nil {
					t.Fatal(err)
				}
				answer, _ := bufio.NewReader(c).ReadString('\n')
				return strings.TrimSpace(answer)
			}
			password := strings.TrimRight(file, "\r\n")
			if got := auth(password); got != "+OK" {
				t.Errorf("the password: %s", got)
			}
			for _, wrong := range []string{password + "\n", password[1:], ""} {
				if got := auth(wrong); !strings.HasPrefix(got, "-WRONGPASS") {
					t.Errorf("%q: %s", wrong, got)
				}
			}
		})
	}
	for name, file := range map[string]string{"empty": "", "only line breaks": "\r\n\n"} {
		secrets := t.TempDir()
		mountSecret(t, filepath.Join(secrets, "redis"), map[string]string{"password": file})
		if out, err := redisCommand(t, secrets).CombinedOutput(); err == nil || !strings.Contains(string(out), "the password is empty") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
