package certs

import (
	"crypto/tls"
	"errors"
)

// Verifier decides in the handshake whether a connection may go on. It is called once for each, after the handshake's signatures
// were checked, with what the peer presented in PeerCertificates; nothing in it has been verified but that the peer has the key of
// the first. Its error ends the handshake with bad_certificate and is what the dialling side gets back.
type Verifier func(tls.ConnectionState) error

// ErrNoVerifier is why a handshake fails whose configuration was made without a Verifier.
var ErrNoVerifier = errors.New("certs: nothing verifies the peer's certificate")

// Server is how a TLS server of ours behaves.
type Server struct {
	// Domain is whose certificate is presented if the client names no domain (SNI), or one that there is none for. If there is none
	// for Domain either, the first certificate is presented, and the client finds out.
	Domain string
	// ALPN are the protocols that are spoken (RFC 7301), in order: "xmpp-server" for XEP-0368. A client that offers others only is
	// refused; one that offers none is not.
	ALPN []string
	// NoClientCertificate does not ask for a certificate.
	NoClientCertificate bool
	// Verify decides in the handshake; nil lets everyone in as a stranger, for the protocol to judge afterwards: the state's
	// PeerCertificates (none, if the client has none) prove nothing until a Verify of certid has said what.
	Verify Verifier
}

// Server makes the configuration of a TLS server. The client's certificate is asked for, not required.
func (s *Store) Server(o Server) *tls.Config {
	c := base(o.ALPN)
	c.ClientAuth = tls.RequestClientCert
	if o.NoClientCertificate {
		c.ClientAuth = tls.NoClientCert
	}
	c.VerifyConnection = o.Verify
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		h, now := s.current.Load(), s.config.Now()
		// Whether the client has the algorithms for it is asked of crypto/tls, whether the name is right is not.
		supports := func(cert *tls.Certificate) error {
			a := *hello
			a.ServerName = ""
			return a.SupportsCertificate(cert)
		}
		for _, domain := range [...]string{hello.ServerName, o.Domain} {
			if domain == "" {
				continue
			}
			if found, ended := h.choose(domain, now, supports); found != nil {
				return found, nil
			} else if ended {
				return nil, errEnded
			}
		}
		for _, c := range h.all {
			if c.valid(now) {
				return &c.tls, nil
			}
		}
		if len(h.all) > 0 {
			return nil, errEnded
		}
		return nil, errNoCertificate
	}
	return c
}

var errEnded = errors.New("certs: the certificate is not valid at this time")

var errNoCertificate = errors.New("certs: no certificate is configured")

// Client is how a TLS client of ours behaves.
type Client struct {
	// From is our domain, whose certificate is presented if the server asks for one. If there is none for it, none is presented:
	// never that of another domain.
	From string
	// ServerName is the name that the server is asked for (SNI): the domain that is meant to be reached (RFC 5922 §7.8, RFC 7673
	// §4.1), an A-label name.
	ServerName string
	// ALPN are the protocols that are offered; nil offers none.
	ALPN []string
}

// Client makes the configuration of a TLS client. verify alone decides whether the server is the right one: crypto/tls does not,
// because its rules are neither those of SIP nor those of XMPP. With a nil verify every handshake fails with ErrNoVerifier.
func (s *Store) Client(o Client, verify Verifier) *tls.Config {
	if verify == nil {
		verify = func(tls.ConnectionState) error { return ErrNoVerifier }
	}
	c := base(o.ALPN)
	c.ServerName = o.ServerName
	c.InsecureSkipVerify = true // VerifyConnection is set below, always, and takes its place
	c.VerifyConnection = verify
	c.GetClientCertificate = func(ask *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		// The authorities that the server names are not looked at: servers of a federation name none, or name what they would
		// not insist on.
		if o.From != "" {
			supports := func(cert *tls.Certificate) error {
				a := *ask
				a.AcceptableCAs = nil
				return a.SupportsCertificate(cert)
			}
			if found, _ := s.current.Load().choose(o.From, s.config.Now(), supports); found != nil {
				return found, nil
			}
		}
		return &tls.Certificate{}, nil
	}
	return c
}

// base is what both sides share.
func base(alpn []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// RFC 7525 §4.2, and the same with ChaCha20 (RFC 7905). Those of TLS 1.3 are not for the configuration to choose.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: alpn,
		// THREATS.md O6: what was judged under yesterday's anchors must not come back without being judged again.
		SessionTicketsDisabled: true,
		Renegotiation:          tls.RenegotiateNever,
	}
}
