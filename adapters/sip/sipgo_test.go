package sip

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	siplib "github.com/emiago/sipgo/sip"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// independent is a user agent of another project, with its UDP server.
func independent(t *testing.T, onMessage func(*siplib.Request, siplib.ServerTransaction)) (*sipgo.UserAgent, *net.UDPConn) {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	ua, err := sipgo.NewUA(sipgo.WithUserAgent("romeo"), sipgo.WithUserAgentHostname("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ua.Close() })
	srv, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	srv.OnMessage(onMessage)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	go srv.ServeUDP(conn)
	t.Cleanup(func() { conn.Close() })
	return ua, conn
}

func TestSipgoUserAgent(t *testing.T) {
	a, c := start(t, nil)
	got := make(chan *siplib.Request, 1)
	ua, conn := independent(t, func(req *siplib.Request, tx siplib.ServerTransaction) {
		got <- req
		if err := tx.Respond(siplib.NewResponseFromRequest(req, 200, "OK", nil)); err != nil {
			t.Error(err)
		}
	})
	client, err := sipgo.NewClient(ua, sipgo.WithClientHostname("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	const body = "😀 <&>\"' a\r\nb"
	for _, l := range a.Addrs() {
		req := siplib.NewRequest(siplib.MESSAGE, siplib.Uri{Scheme: "sip", User: "juliet", Host: "example.com"})
		from := siplib.FromHeader{Address: siplib.Uri{Scheme: "sip", User: "romeo", Host: "example.net"}, Params: siplib.NewParams()}
		from.Params.Add("tag", "tag-"+l.Transport.String())
		req.AppendHeader(&from)
		req.AppendHeader(siplib.NewHeader("Content-Type", "text/plain;charset=UTF-8"))
		req.AppendHeader(siplib.NewHeader("Subject", "Děvo"))
		req.SetBody([]byte(body))
		req.SetDestination(l.Address.String())
		req.SetTransport(map[resolver.Transport]string{resolver.UDP: "UDP", resolver.TCP: "TCP"}[l.Transport])
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		res, err := client.Do(ctx, req)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 202 {
			t.Errorf("%s: %d %s", l.Transport, res.StatusCode, res.Reason)
		}
		op := next(t, c.messages, "message")
		if string(op.Content.Octets) != body || op.Thread != req.CallID().Value() || len(op.Subjects) != 1 || op.Subjects[0].Text != "Děvo" {
			t.Errorf("%+v", op)
		}
	}

	hop := resolver.MustTarget(resolver.TargetSpec{
		Protocol: resolver.SIP, Transport: resolver.UDP, Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(),
	})
	op := outgoing(func(op *adapters.MessageOp) { op.Content.Octets = []byte(body) })
	if s := a.Message(t.Context(), []resolver.Target{hop}, op); s.Outcome != adapters.Success {
		t.Errorf("%+v", s)
	}
	select {
	case req := <-got:
		if string(req.Body()) != body || req.CallID().Value() != "T-1" || req.From().Address.User != "juliet" {
			t.Errorf("%s", req.String())
		}
		if gr, _ := req.From().Address.UriParams.Get("gr"); gr != "balcony" {
			t.Errorf("gr %q in %s", gr, req.From().Value())
		}
	case <-time.After(wait):
		t.Error("the user agent got nothing")
	}
}
