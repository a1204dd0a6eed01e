package main

import (
	"os"
	"path/filepath"
	"strings"
)

// njsModule is where Debian and Ubuntu install libnginx-mod-http-js.
const njsModule = "/usr/lib/nginx/modules/ngx_http_js_module.so"

const nginxConf = `MODULE
worker_processes auto;
pid DIR/pid;
error_log DIR/error.log warn;
events { worker_connections 1024; }
http {
	access_log off;
	client_max_body_size 8m;
	client_body_buffer_size 2m;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	keepalive_requests 1000000000;
	upstream app {
		server APP;
		keepalive 64;
		keepalive_requests 1000000000;
	}
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	IMPORT
	server {
		listen ADDRESS;
		location / {
			HANDLER
		}
		location @app {
			proxy_pass http://app;
		}
	}
}
`

// verifyJS does what a careful user of njs would write: the timestamp, and the HMAC over
// id, timestamp and body, compared in constant time.
const verifyJS = `
const crypto = require('crypto');
const key = Buffer.from('KEY', 'base64');

function equal(a, b) {
	if (a.length !== b.length) return false;
	let differ = 0;
	for (let i = 0; i < a.length; i++) differ |= a.charCodeAt(i) ^ b.charCodeAt(i);
	return differ === 0;
}

function verify(r) {
	const h = r.headersIn;
	const id = h['webhook-id'], at = h['webhook-timestamp'], given = h['webhook-signature'];
	if (!id || !at || !given || Math.abs(Date.now() / 1000 - Number(at)) > 300) return r.return(401);
	const mac = crypto.createHmac('sha256', key);
	mac.update(id + '.' + at + '.');
	mac.update(r.requestBuffer);
	if (!equal(given, 'v1,' + mac.digest('base64'))) return r.return(401);
	r.internalRedirect('@app');
}

export default { verify };
`

func startNginx(e *environment, s *server) (err error) {
	module, imports, handler := "", "", "proxy_pass http://app;"
	if s.module != "" {
		module = "load_module " + s.module + ";"
		imports = "js_path " + s.dir + ";\njs_import bench from verify.js;"
		handler = "client_body_in_single_buffer on;\njs_content bench.verify;"
		script := strings.Replace(verifyJS, "KEY", strings.TrimPrefix(s.key, "whsec_"), 1)
		if err := os.WriteFile(filepath.Join(s.dir, "verify.js"), []byte(script), 0o600); err != nil {
			return err
		}
	}
	text := strings.NewReplacer("MODULE", module, "IMPORT", imports, "HANDLER", handler, "ADDRESS", s.address).Replace(nginxConf)
	file := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(e.replace(s, text)), 0o600); err != nil {
		return err
	}
	s.process, err = launch(s.candidate.name, s.dir, nil, s.needs, "-c", file, "-p", s.dir, "-g", "daemon off;")
	return err
}

// startWebhook starts adnanh/webhook, which forwards nothing: it runs a command.
func startWebhook(e *environment, s *server) (err error) {
	hooks := `[{"id": "shop", "execute-command": "true", "response-message": "` + answered + `", "trigger-rule-mismatch-http-response-code": 401,
		"trigger-rule": {"match": {"type": "payload-hmac-sha256", "secret": "SECRET", "parameter": {"source": "header", "name": "X-Hub-Signature-256"}}}}]`
	file := filepath.Join(s.dir, "hooks.json")
	if err := os.WriteFile(file, []byte(e.replace(s, hooks)), 0o600); err != nil {
		return err
	}
	ip, port, _ := strings.Cut(s.address, ":")
	s.process, err = launch(s.candidate.name, s.dir, nil, s.needs, "-hooks", file, "-ip", ip, "-port", port)
	return err
}
