package stream_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// incoming is a receiving entity for montague.example.
func incoming(tb testing.TB) stream.Incoming {
	cfg := serverTLS(tb, "montague.example")
	return stream.Incoming{
		Host: func(to string) (stream.Host, bool) {
			return stream.Host{Name: to, TLS: cfg}, to == "montague.example"
		},
		DefaultTo: "montague.example", Authorize: proves, Management: true, MaxBytes: 262144, Idle: 10 * time.Minute,
	}
}

// outgoing is an initiating entity for capulet.example.
func outgoing(tb testing.TB) stream.Outgoing {
	return stream.Outgoing{From: "capulet.example", To: "montague.example", TLS: clientTLS(tb, "capulet.example"), External: true}
}

// opened is what Open and Accept returned.
type opened struct {
	out    *stream.Conn
	offer  *stream.Offer
	outErr error
	in     *stream.Conn
	claim  *stream.Claim
	inErr  error
	ends   [2]net.Conn
}

// join lets Open and Accept talk to each other over loopback, as sockets hold octets and a pipe does not.
func join(tb testing.TB, o stream.Outgoing, i stream.Incoming) *opened {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	r := &opened{}
	if r.ends[0], err = net.Dial("tcp", l.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if r.ends[1], err = l.Accept(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.ends[0].Close(); r.ends[1].Close() })
	done := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	go func() {
		defer close(done)
		r.in, r.claim, r.inErr = stream.Accept(ctx, r.ends[1], i)
	}()
	r.out, r.offer, r.outErr = stream.Open(ctx, r.ends[0], o)
	if o.Dialback && r.outErr == nil && !r.offer.Authenticated {
		d := stream.Dialback{Kind: stream.DialbackResult, From: o.From, To: o.To, Key: "key"}
		if _, err := r.out.Write(stream.AppendDialback(nil, &d), time.Now().Add(40*time.Second)); err != nil {
			tb.Fatal(err)
		}
	}
	<-done
	return r
}

// TestOpenAccept: the two roles, each with the other, in every way to open a stream that policy can allow.
func TestOpenAccept(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*stream.Outgoing, *stream.Incoming)
		// what both sides must find
		secured, external, bidi bool
	}{
		{"STARTTLS and EXTERNAL", func(*stream.Outgoing, *stream.Incoming) {}, true, true, false},
		{"direct TLS and EXTERNAL", func(o *stream.Outgoing, i *stream.Incoming) {
			o.Direct = true
			i.Direct = serverTLS(t, "montague.example")
			i.Direct.NextProtos = []string{"xmpp-server"}
		}, true, true, false},
		{"EXTERNAL and bidi", func(o *stream.Outgoing, i *stream.Incoming) { o.Bidi, i.Bidi = true, true }, true, true, true},
		{"dialback over TLS", func(o *stream.Outgoing, i *stream.Incoming) { o.External, o.Dialback, i.Dialback = false, true, true }, true, false, false},
		{"dialback over TLS and bidi", func(o *stream.Outgoing, i *stream.Incoming) {
			o.External, o.Dialback, i.Dialback, o.Bidi, i.Bidi = false, true, true, true, true
		}, true, false, true},
		{"dialback, certificate not proven", func(o *stream.Outgoing, i *stream.Incoming) {
			o.Dialback, i.Dialback = true, true
			o.TLS = clientTLS(t, "other.example")
		}, true, false, false},
		{"dialback without certificate", func(o *stream.Outgoing, i *stream.Incoming) {
			o.Dialback, i.Dialback = true, true
			o.TLS.Certificates = nil
		}, true, false, false},
		{"dialback in the clear", func(o *stream.Outgoing, i *stream.Incoming) {
			o.TLS, o.Cleartext, o.Dialback = nil, true, true
			i.Cleartext, i.Dialback = true, true
		}, false, false, false},
		{"TLS although the clear is allowed", func(o *stream.Outgoing, i *stream.Incoming) {
			o.Cleartext, i.Cleartext, i.Dialback = true, true, true
		}, true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, i := outgoing(t), incoming(t)
			c.set(&o, &i)
			gate := stream.NewGate(stream.GateLimits{})
			i.Pass, _ = gate.Enter(loopback, nil)
			r := join(t, o, i)
			if r.outErr != nil || r.inErr != nil {
				t.Fatalf("Open: %v; Accept: %v", r.outErr, r.inErr)
			}
			if r.offer.Secured != c.secured || r.claim.Secured != c.secured || (r.offer.TLS != nil) != c.secured {
				t.Errorf("secured: %v, %v", r.offer.Secured, r.claim.Secured)
			}
			if r.offer.Authenticated != c.external || r.claim.Authenticated != c.external {
				t.Errorf("authenticated: %v, %v", r.offer.Authenticated, r.claim.Authenticated)
			}
			if r.offer.Bidi != c.bidi || r.claim.Bidi != c.bidi {
				t.Errorf("bidirectional: %v, %v", r.offer.Bidi, r.claim.Bidi)
			}
			if r.claim.From != "capulet.example" || r.claim.To != "montague.example" || r.claim.ID == "" || r.claim.ID != r.offer.ID {
				t.Errorf("%+v, %+v", r.claim, r.offer)
			}
			// A peer that was offered EXTERNAL and takes dialback hears of stream management in no list of features.
			if r.offer.Management == (!c.external && r.offer.Features.External) || r.offer.MaxBytes != 262144 || r.offer.IdleAfter != 10*time.Minute {
				t.Errorf("offered %+v", r.offer)
			}
			if !c.external {
				if raw, err := r.in.Next(); err != nil || string(raw) != "<db:result from='capulet.example' to='montague.example'>key</db:result>" {
					t.Fatalf("%q, %v", raw, err)
				}
				if gate.Inside() != 1 {
					t.Error("not authenticated, and left the gate")
				}
				r.in.Established()
				r.out.Established()
			}
			if gate.Inside() != 0 {
				t.Error("authenticated, and still at the gate")
			}
			// Stanzas both ways, larger than a stranger's.
			big := append(append([]byte("<message><body>"), make([]byte, 0)...), bytesOf('x', 50_000)...)
			big = append(big, "</body></message>"...)
			for _, way := range [][2]*stream.Conn{{r.out, r.in}, {r.in, r.out}} {
				go way[0].Write(big, time.Now().Add(40*time.Second))
				if raw, err := way[1].Next(); err != nil || len(raw) != len(big) {
					t.Fatalf("%d octets, %v", len(raw), err)
				}
			}
			// A clean close: each hears the other's closing tag.
			if err := r.out.End(5 * time.Second); err != nil {
				t.Error(err)
			}
			if _, err := r.in.Next(); err != io.EOF {
				t.Errorf("receiving entity: %v", err)
			}
			r.in.Close(0)
			if _, err := r.out.Next(); err != io.EOF {
				t.Errorf("initiating entity: %v", err)
			}
			r.out.Close(0)
		})
	}
}

func bytesOf(b byte, n int) []byte {
	s := make([]byte, n)
	for i := range s {
		s[i] = b
	}
	return s
}
