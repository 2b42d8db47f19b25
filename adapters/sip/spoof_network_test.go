package sip

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/websocket"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// entrance is a way in for one of the peer: it sends a request and returns the code of the answer.
type entrance struct {
	name string
	send func(text string) int
}

// entrances opens each transport that a request can come over, for a peer that may speak for example.net alone: known by its address, and over TLS
// by its certificate alone.
func entrances(t *testing.T) ([]entrance, *core) {
	ca := certstest.NewCA(t)
	a, c := start(t, func(cfg *Config) {
		cfg.Listeners = append(cfg.Listeners, transaction.Listener{Transport: resolver.TLS, Address: "127.0.0.2:0"},
			transaction.Listener{Transport: resolver.WS, Address: "127.0.0.1:0", Origins: []string{"https://chat.example.net"}})
		cfg.Peers = []Peer{
			{Name: "trunk", Networks: network("127.0.0.1/32"), Domains: []string{"example.net"}, SMIME: SMIMELate},
			{Name: "proxy", Certificates: []string{"proxy.example.net"}, Domains: []string{"example.net"}, SMIME: SMIMELate},
		}
		cfg.Certificates = storeFor(t, ca, []string{"example.com"})
	})
	leaf := ca.Issue(certstest.Spec{DNS: []string{"proxy.example.net"}})
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 3)}} // no peer's address
	secured, err := tls.DialWithDialer(dialer, "tcp", a.Addrs()[2].Address.String(), &tls.Config{
		RootCAs: ca.Pool(), ServerName: "example.com", Certificates: []tls.Certificate{leaf.TLS()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { secured.Close() }) //nolint:errcheck // a test
	over := func(g *agent) func(string) int { return func(text string) int { return g.ask(text).StatusCode() } }
	plain, err := net.Dial("tcp", a.Addrs()[3].Address.String())
	if err != nil {
		t.Fatal(err)
	}
	w, code := dialWS(t, plain, "https://chat.example.net")
	if code != 101 {
		t.Fatalf("HTTP %d", code)
	}
	n := 0
	return []entrance{
		{"UDP", over(udpAgent(t, a))},
		{"TCP", over(tcpAgent(t, a))},
		{"TLS", over(&agent{t: t, conn: secured, sr: wire.NewStreamReader(secured, wire.Limits{})})},
		{"WS", func(text string) int {
			n++
			text = string(octets(strings.TrimPrefix(text, "\n")))
			w.send(websocket.Text, strings.Replace(text, "\r\n", "\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKws"+itoa(int64(n))+";rport\r\n", 1))
			_, got := w.read()
			m, err := wire.Parse([]byte(got), wire.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			return m.StatusCode()
		}},
	}, c
}

// T-ID-02, THREATS S2, S3 and G7: what a spoofer would try, over each transport: From against what is asserted, what is preferred, what is written twice,
// what stands in a Message/CPIM, and in what is signed in clear. Nothing makes him anybody but who his link may be, whom From names.
func TestT_ID_02_EveryEntrance(t *testing.T) {
	const tybalt = "tybalt@example.net"
	cpim := func(from, to string) string {
		return crlf("From: <im:" + from + ">\nTo: <im:" + to + ">\n\nContent-Type: text/plain\n\nx")
	}
	with := func(kind, body string) func(string) string {
		return func(text string) string {
			head, _, _ := strings.Cut(text, "\n\n")
			return strings.Replace(head, "Content-Type: text/plain", "Content-Type: "+kind, 1) + "\n\n" + body
		}
	}
	swap := func(old, more string) func(string) string {
		return func(text string) string { return strings.Replace(text, old, more, 1) }
	}
	all, c := entrances(t)
	for _, s := range []struct {
		name   string
		change func(string) string
		code   int // 202: it is from Romeo, who sent it
	}{
		{"himself", func(s string) string { return s }, 202},
		{"a domain that is not the peer's", swap("romeo@example.net", "mercutio@example.org"), 403},
		{"the other network's domain", swap("romeo@example.net", "juliet@example.com"), 403},
		{"a domain below it", swap("romeo@example.net", "romeo@sub.example.net"), 403},
		{"a domain with a dot behind", swap("romeo@example.net", "romeo@example.org."), 403},
		{"an assertion, of a peer that is not trusted", swap("CSeq:", "P-Asserted-Identity: <sip:"+tybalt+">\nCSeq:"), 202},
		{"a preference", swap("CSeq:", "P-Preferred-Identity: <sip:"+tybalt+">\nCSeq:"), 202},
		{"what others believe", swap("CSeq:", "Remote-Party-ID: <sip:"+tybalt+">\nReply-To: <sip:"+tybalt+">\nContact: <sip:"+tybalt+">\nReferred-By: <sip:"+tybalt+">\nCSeq:"), 202},
		{"a history", swap("CSeq:", "History-Info: <sip:"+tybalt+">;index=1\nDiversion: <sip:"+tybalt+">\nCSeq:"), 202},
		{"two From", swap("CSeq:", "From: <sip:"+tybalt+">;tag=x\nCSeq:"), 400},
		{"a short From beside", swap("CSeq:", "f: <sip:"+tybalt+">;tag=x\nCSeq:"), 400},
		{"a space before the colon of another", swap("CSeq:", "From : <sip:"+tybalt+">;tag=x\nCSeq:"), 400},
		{"another behind a fold", swap("CSeq:", "Subject: x\n From: <sip:"+tybalt+">;tag=x\nCSeq:"), 202},
		{"a name that looks like an address", swap("From: <", "From: \"tybalt@example.net\" <"), 202},
		{"an address within the user part", swap("romeo@example.net", "romeo%40example.net%3e@example.org"), 403},
		{"a Message/CPIM of another", with("message/cpim", cpim(tybalt, "juliet@example.com")), 403},
		{"a Message/CPIM of himself", with("message/cpim", cpim("romeo@example.net", "juliet@example.com")), 202},
		{"a Message/CPIM of two", with("message/cpim", "From: <im:romeo@example.net>\r\n"+cpim(tybalt, "juliet@example.com")), 400},
		{"a Message/CPIM with another in small letters", with("message/cpim", "from: <im:"+tybalt+">\r\n"+cpim("romeo@example.net", "juliet@example.com")), 403},
		{"a Message/CPIM with another of another namespace", with("message/cpim", strings.Replace(cpim("romeo@example.net", "juliet@example.com"), "\r\n\r\n", "\r\nNS: <urn:x>\r\nFrom: <im:"+tybalt+">\r\n\r\n", 1)), 403},
		{"a Message/CPIM with another of another namespace alone", with("message/cpim", "NS: <urn:x>\r\n"+cpim(tybalt, "juliet@example.com")), 403},
		{"signed, with another in small letters", with(signedType, signedPart("message/cpim", "from: <im:"+tybalt+">\n"+cpim("romeo@example.net", "juliet@example.com"))), 403},
		{"a Message/CPIM whose From is in another scheme", with("message/cpim", strings.Replace(cpim(tybalt, "juliet@example.com"), "im:", "sip:", 1)), 403},
		{"a Message/CPIM to somebody else", with("message/cpim", cpim("romeo@example.net", "nurse@example.com")), 403},
		{"signed, of another", with(signedType, signedPart("message/cpim", cpim(tybalt, "juliet@example.com"))), 403},
		{"signed, a presence of another", with(signedType, signedPresence(tybalt)), 403},
		{"signed, a SIP message of another", with(signedType, signedPart("message/sip", "MESSAGE sip:juliet@example.com SIP/2.0\nFrom: <sip:"+tybalt+">\n\nx")), 403},
		{"signed, of himself", with(signedType, signedPart("message/cpim", cpim("romeo@example.net", "juliet@example.com"))), 202},
	} {
		for i, e := range all {
			tag := "s" + itoa(int64(i)) + strings.Map(func(r rune) rune {
				if r < 'a' || r > 'z' {
					return -1
				}
				return r
			}, s.name)
			text := s.change(strings.Replace(tagged(hello, tag), "Call-ID: ", "Call-ID: "+tag, 1))
			if code := e.send(text); code != s.code {
				t.Errorf("%s: over %s: %d, want %d", s.name, e.name, code, s.code)
				continue
			}
			if s.code != 202 {
				c.quiet(t)
				continue
			}
			if op := next(t, c.messages, "message"); op.From.Address != im("romeo@example.net") {
				t.Errorf("%s: over %s: from %v", s.name, e.name, op.From)
			}
		}
	}
}
