package websocket

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 §4.2.2 says SHA-1; nothing depends on its strength
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Subprotocol is what client and server must both name (RFC 7118 §4.1).
const Subprotocol = "sip"

// Refusal is why a handshake is not accepted.
type Refusal struct {
	Status int         // the HTTP status to answer with
	Header http.Header // what the status demands beside, or nil
	Rule   string      // short name of the rule, from a fixed set: it may label a metric
}

// Error gives the rule.
func (r *Refusal) Error() string { return "websocket: handshake refused: " + r.Rule }

// Accept checks the client's handshake (RFC 6455 §4.2.1) and returns the value of Sec-WebSocket-Accept. It fails with a *Refusal.
//
// origins are the origins that browsers may come from, as "https://example.net" or "https://example.net:8443", in lower case. A
// request without Origin is from no browser (RFC 6455 §10.2), and is taken. With an Origin that is not listed it is refused: "If the
// origin indicated is unacceptable to the server, then it SHOULD respond to the WebSocket handshake with a reply containing HTTP 403
// Forbidden status code."
func Accept(r *http.Request, origins []string) (accept string, err error) {
	switch {
	case r.Method != http.MethodGet:
		return "", &Refusal{http.StatusMethodNotAllowed, http.Header{"Allow": {"GET"}}, "method"}
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return "", &Refusal{http.StatusHTTPVersionNotSupported, nil, "version"}
	case r.Host == "":
		return "", &Refusal{http.StatusBadRequest, nil, "host"}
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return "", &Refusal{http.StatusBadRequest, nil, "body"}
	case !lists(r.Header, "Upgrade", "websocket") || !lists(r.Header, "Connection", "upgrade"):
		return "", &Refusal{http.StatusUpgradeRequired, http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}, "upgrade"}
	}
	if v := r.Header["Sec-Websocket-Version"]; len(v) != 1 || v[0] != "13" {
		return "", &Refusal{http.StatusUpgradeRequired, http.Header{"Sec-Websocket-Version": {"13"}}, "websocket version"}
	}
	key := r.Header["Sec-Websocket-Key"]
	if len(key) != 1 {
		return "", &Refusal{http.StatusBadRequest, nil, "key"}
	}
	// "a |Sec-WebSocket-Key| header field with a base64-encoded value that, when decoded, is 16 bytes in length".
	if nonce, err := base64.StdEncoding.DecodeString(key[0]); err != nil || len(nonce) != 16 {
		return "", &Refusal{http.StatusBadRequest, nil, "key"}
	}
	switch o := r.Header["Origin"]; {
	case len(o) > 1:
		return "", &Refusal{http.StatusBadRequest, nil, "origin"}
	case len(o) == 1 && !slices.Contains(origins, strings.ToLower(o[0])):
		return "", &Refusal{http.StatusForbidden, nil, "origin"}
	}
	// RFC 7118 §4.1: "The client MUST include the value "sip" in the Sec-WebSocket-Protocol header". The names have case.
	if !names(r.Header, "Sec-Websocket-Protocol", Subprotocol) {
		return "", &Refusal{http.StatusBadRequest, nil, "subprotocol"}
	}
	sum := sha1.Sum([]byte(key[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// lists reports whether a header field that is a list of tokens without case has this one.
func lists(h http.Header, name, token string) bool {
	for _, line := range h[name] {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// names is lists for tokens that have case.
func names(h http.Header, name, token string) bool {
	for _, line := range h[name] {
		for part := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(part) == token {
				return true
			}
		}
	}
	return false
}

// AppendAccepted writes the answer of the server to a handshake that Accept took (RFC 6455 §4.2.2). No extension is ever named.
func AppendAccepted(dst []byte, accept string) []byte {
	return append(append(append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...), accept...),
		"\r\nSec-WebSocket-Protocol: "+Subprotocol+"\r\n\r\n"...)
}

// AppendRefused writes the answer to a handshake that is refused. The connection is closed behind it.
func AppendRefused(dst []byte, r *Refusal) []byte {
	const digits = "0123456789"
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, digits[r.Status/100%10], digits[r.Status/10%10], digits[r.Status%10], ' ')
	dst = append(append(dst, http.StatusText(r.Status)...), "\r\n"...)
	closes := true
	for _, name := range [...]string{"Allow", "Upgrade", "Connection", "Sec-Websocket-Version"} {
		if v := r.Header.Get(name); v != "" {
			if name == "Connection" {
				v, closes = v+", close", false
			}
			dst = append(append(append(append(dst, name...), ": "...), v...), "\r\n"...)
		}
	}
	if closes {
		dst = append(dst, "Connection: close\r\n"...)
	}
	return append(dst, "Content-Length: 0\r\n\r\n"...)
}

// ParseOrigin checks an origin of a configuration and returns it as Accept compares it (RFC 6454 §6.2): scheme and host, and the port
// unless it is the scheme's own. ok is false for anything else: a path, a wildcard, "null".
func ParseOrigin(s string) (origin string, ok bool) {
	u, err := url.Parse(strings.ToLower(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" ||
		u.ForceQuery || u.Opaque != "" || strings.ContainsAny(u.Host, "*% ") || strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	host := u.Host
	switch {
	case u.Scheme == "http" && u.Port() == "80":
		host = strings.TrimSuffix(host, ":80")
	case u.Scheme == "https" && u.Port() == "443":
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host, true
}
