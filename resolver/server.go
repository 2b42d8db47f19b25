package resolver

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Server is one recursive DNS server.
type Server struct {
	// Addr is where it listens. A zero port means 53, or 853 if TLSName is set.
	Addr netip.AddrPort
	// TLSName, if not empty, makes this a DNS over TLS server (RFC 7858, strict profile) with a certificate for this name.
	TLSName string
	// RootCAs are the authorities for TLSName; nil means the system's.
	RootCAs *x509.CertPool
	// DistrustAD drops this server's AD bit even where TrustAD would believe it.
	DistrustAD bool
}

// ADTrust says whose AD bit (RFC 4035 §3.2.3: the server has validated the answer) is believed.
type ADTrust uint8

// The AD bit travels unprotected, so that it is never believed of a server that is neither on this host nor behind TLS.
const (
	ADLocalAndTLS ADTrust = iota // default: servers on a loopback address, and DNS over TLS
	ADNever                      // nobody: every answer counts as insecure
)

func (s *Server) normalize() {
	if s.Addr.Port() == 0 {
		port := uint16(53)
		if s.TLSName != "" {
			port = 853
		}
		s.Addr = netip.AddrPortFrom(s.Addr.Addr(), port)
	}
}

func (s *Server) trusted(t ADTrust) bool {
	return t == ADLocalAndTLS && !s.DistrustAD && (s.TLSName != "" || s.Addr.Addr().Unmap().IsLoopback())
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: s.TLSName, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12, NextProtos: []string{"dot"}}
}

// String is the server's address, with the name of its certificate if it has one.
func (s *Server) String() string {
	if s.TLSName != "" {
		return "tls://" + s.Addr.String() + "#" + s.TLSName
	}
	return s.Addr.String()
}

// ParseServer reads "192.0.2.53", "[2001:db8::53]:5353" or "tls://192.0.2.53:853#dns.example.net". It fails with a *SyntaxError.
func ParseServer(text string) (Server, error) {
	var s Server
	rest, isTLS := strings.CutPrefix(text, "tls://")
	if isTLS {
		var name string
		var ok bool
		if rest, name, ok = strings.Cut(rest, "#"); !ok {
			return Server{}, &SyntaxError{Offset: len(text), Rule: "name", Expected: "'#' and the name of the certificate"}
		}
		d, err := ParseDomain(name)
		if err != nil {
			return Server{}, shift(err, len(text)-len(name))
		}
		s.TLSName = d
	}
	if ap, err := netip.ParseAddrPort(rest); err == nil {
		s.Addr = ap
	} else {
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]"))
		if err != nil {
			return Server{}, &SyntaxError{Offset: len(text) - len(rest), Rule: "address", Expected: "an IP address and perhaps a port"}
		}
		s.Addr = netip.AddrPortFrom(a, 0)
	}
	s.normalize()
	return s, nil
}

// ResolvConf is what this resolver takes from resolv.conf(5). Search lists are read over: RFC 3861 §4 asks for FQDNs.
type ResolvConf struct {
	Servers  []Server
	Timeout  int // seconds; zero: not given
	Attempts int // zero: not given
}

// Bounds of a resolv.conf: as much as is read, and as many servers as are kept.
const (
	maxResolvConf    = 64 << 10
	maxResolvServers = 8
)

// ParseResolvConf reads resolv.conf(5). Like the C library it never fails on a line that it does not know; the error is the
// reader's. Without a nameserver line the loopback address is the server. IPv6 zones are kept, for link-local routers.
func ParseResolvConf(r io.Reader) (ResolvConf, error) {
	var c ResolvConf
	sc := bufio.NewScanner(io.LimitReader(r, maxResolvConf))
	sc.Buffer(nil, maxResolvConf+1)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 2 || f[0][0] == '#' || f[0][0] == ';' {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && len(c.Servers) < maxResolvServers {
				c.Servers = append(c.Servers, Server{Addr: netip.AddrPortFrom(a, 53)})
			}
		case "options":
			for _, o := range f[1:] {
				key, val, _ := strings.Cut(o, ":")
				n, err := strconv.Atoi(val)
				switch {
				case err != nil:
				case key == "timeout" && n >= 1 && n <= 30:
					c.Timeout = n
				case key == "attempts" && n >= 1 && n <= 5:
					c.Attempts = n
				}
			}
		}
	}
	if err := sc.Err(); err != nil {
		return ResolvConf{}, err
	}
	if len(c.Servers) == 0 {
		c.Servers = []Server{{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}}
	}
	return c, nil
}
