module github.com/verify-webhook/caddy-verify-webhook/cmd/build

go 1.26.0

require (
	github.com/BurntSushi/toml v1.6.0
	github.com/caddyserver/xcaddy v0.4.7
	golang.org/x/mod v0.41.0
)

require (
	github.com/Masterminds/semver/v3 v3.5.0 // indirect
	github.com/akavel/rsrc v0.10.2 // indirect
	github.com/google/shlex v0.0.0-20191202100458-e7afc7fbc510 // indirect
	github.com/josephspurrier/goversioninfo v1.7.0 // indirect
)
