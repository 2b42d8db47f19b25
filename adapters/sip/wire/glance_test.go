package wire

import (
	"bytes"
	"net/netip"
	"testing"
)

const glanced = "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/UDP p.example.net;branch=z9hG4bKa;rport, SIP/2.0/TCP x.example.net;branch=z9hG4bKb\r\nv: SIP/2.0/TCP 192.0.2.1\r\n" +
	"Max-Forwards: 70\r\nFrom: \"Tag;tag=1\" <sip:romeo@example.net>;tag=f\r\nt: <sip:juliet@example.com>\r\nCall-ID: c@example.net\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"

// A refusal at first sight is the one that a full reading would give, octet for octet.
func TestGlanceRefusesAsParseDoes(t *testing.T) {
	source := netip.MustParseAddrPort("192.0.2.7:5070")
	for name, request := range map[string]string{
		"of another host": glanced,
		"in a dialog":     string(bytes.Replace([]byte(glanced), []byte("t: <sip:juliet@example.com>"), []byte("To: sip:juliet@example.com ; TAG=x"), 1)),
	} {
		var g Glance
		if !g.Read([]byte(request), DefaultLimits()) {
			t.Errorf("%s: it was not read", name)
			continue
		}
		m, err := Parse([]byte(request), DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		m.SetSource(source)
		for _, compact := range []bool{false, true} {
			want, err := AppendResponse(nil, m, Response{Code: 503, ToTag: "tt", Compact: compact})
			if err != nil {
				t.Fatal(err)
			}
			got := g.AppendRefusal(nil, 503, "Service Unavailable", "tt", source, HopAnswer{}, compact)
			if !bytes.Equal(got, want) {
				t.Errorf("%s:\n%s\nshould be\n%s", name, got, want)
			}
		}
		if g.InDialog() != (m.To().Tag() != "") || g.Method() != m.Method() || g.TopVia() != m.TopVia() || g.CallID() != m.CallID() {
			t.Errorf("%s: it was read otherwise than Parse does", name)
		}
	}
}

func TestGlanceLeavesToParse(t *testing.T) {
	edit := func(old, new string) string {
		return string(bytes.Replace([]byte(glanced), []byte(old), []byte(new), 1))
	}
	for name, request := range map[string]string{
		"nothing":           "",
		"a response":        "SIP/2.0 200 OK\r\n\r\n",
		"no end":            glanced[:len(glanced)-4],
		"a fold":            edit("Max-Forwards: 70", "Subject: a\r\n b"),
		"two From":          edit("Max-Forwards: 70", "From: <sip:a@example.net>;tag=1"),
		"no Call-ID":        edit("Call-ID: c@example.net\r\n", ""),
		"ACK":               edit("MESSAGE", "ACK"),
		"a control":         edit("c@example.net", "c\x01@example.net"),
		"a bad Via":         edit("SIP/2.0/UDP p.example.net", "SIP/2.0/UDP"),
		"no branch":         edit("branch=z9hG4bKa;", ""),
		"a bare line feed":  edit("Max-Forwards: 70\r\n", "Max-Forwards: 70\n"),
		"space and a colon": edit("Max-Forwards: 70", "Max-Forwards : 70"),
	} {
		var g Glance
		if g.Read([]byte(request), DefaultLimits()) {
			t.Errorf("%s: it was read", name)
		}
	}
}

// FuzzGlance: what is read at first sight and what Parse takes say the same.
func FuzzGlance(f *testing.F) {
	f.Add([]byte(glanced))
	f.Add([]byte("OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\nf:sip:a;tag=1\r\nt:sip:b;x=\"\";tag=2\r\ni:1\r\nCSeq:1 OPTIONS\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var g Glance
		if !g.Read(b, DefaultLimits()) {
			return
		}
		m, err := Parse(bytes.Clone(b), DefaultLimits())
		if err != nil {
			return
		}
		if g.Method() != m.Method() || g.TopVia() != m.TopVia() || g.CallID() != m.CallID() {
			t.Fatalf("%q: method %q and %q, Via %q and %q, Call-ID %q and %q", b, g.Method(), m.Method(), g.TopVia().String(), m.TopVia().String(), g.CallID(), m.CallID())
		}
		source := netip.MustParseAddrPort("192.0.2.7:5070")
		refusal := g.AppendRefusal(nil, 503, "Service Unavailable", "tt", source, HopAnswer{}, false)
		if _, err := Parse(refusal, DefaultLimits()); err != nil {
			t.Fatalf("%q: its refusal %q: %v", b, refusal, err)
		}
	})
}

func BenchmarkGlanceRefusal(b *testing.B) {
	request, out, source := []byte(glanced), make([]byte, 0, 1024), netip.MustParseAddrPort("192.0.2.7:5070")
	var g Glance
	b.ReportAllocs()
	for b.Loop() {
		if !g.Read(request, DefaultLimits()) {
			b.Fatal("it was not read")
		}
		out = g.AppendRefusal(out[:0], 503, "Service Unavailable", "0123456789abcdef", source, HopAnswer{}, false)
	}
}
