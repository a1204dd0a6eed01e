# syntax=docker/dockerfile:1

# The gateway, built from this checkout with the versions of its go.sum.
#
#     docker build --build-arg VERSION="$(git describe --tags --always --dirty)" \
#         -t caddy-verify-webhook .
#     docker run -p 80:80 -p 443:443 -p 443:443/udp \
#         -v "$PWD/caddy":/etc/caddy:ro -v caddy_data:/data \
#         caddy-verify-webhook
#
# The Caddyfile is in the folder ./caddy. Mount the folder, not the file: editors
# replace a file, and the container would keep the old one. VERSION is what caddy
# webhook version and build_info say; without it, (devel), as .git is not copied.
# caddy_data holds the certificates: keep it. The program runs as user 10001, as
# in deploy/kubernetes: a volume that an older image wrote as root needs a
# chown -R 10001:10001 first. Tags move; a build that must be repeatable names
# the two images by digest.

FROM golang:1.26 AS builder
WORKDIR /src

# On their own, so that a change of our code does not download them again.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION=""
# No cgo: the final image has musl, the builder has glibc.
RUN --mount=type=cache,target=/cache \
    GOCACHE=/cache CGO_ENABLED=0 go build -trimpath \
    -ldflags="-s -w -X github.com/verify-webhook/caddy-verify-webhook/internal/version.stated=$VERSION" -o /out/caddy ./cmd/caddy

FROM caddy:2.11

# The base's binary carries the file capability cap_net_bind_service; COPY
# replaces the file, so this one does not. Under Docker's default settings any
# user may bind ports below 1024. Without the capability the program also starts
# where all are dropped (--cap-drop ALL, Kubernetes' "restricted"): there let
# Caddy listen above 1024. Only a runtime that keeps low ports from other users
# needs, before USER:
#     RUN setcap cap_net_bind_service=+ep /usr/bin/caddy
COPY --from=builder /out/caddy /usr/bin/caddy

# The base's Caddyfile serves a welcome page. A gateway whose configuration was
# not mounted should not start.
RUN rm /etc/caddy/Caddyfile

# What reads every stranger's bytes is not root. A number, so that Kubernetes'
# runAsNonRoot can tell.
RUN chown -R 10001:10001 /data /config
USER 10001:10001
