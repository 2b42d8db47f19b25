// Package admin is the port for operators: health, readiness and metrics over HTTP/1.1 on a unix socket or a loopback address,
// and nothing else. It has no password, so it can only be where no other machine reaches it (T-AD-01), it changes nothing, and
// it shows no secret (T-AD-02).
package admin
