package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// sipUser is Romeo: a SIP user agent on sipgo, a library that none of the gateway's SIP side uses. It has one UDP and one
// TCP socket of loopback, on the same port.
type sipUser struct {
	agent    *sipgo.UserAgent
	client   *sipgo.Client
	port     int
	udp, tcp string // the gateway's listeners, HOST:PORT
	tag      string

	messages  *inbox[*sip.Request]
	documents *inbox[*sip.Request]

	mu      sync.Mutex
	watched *dialog // the gateway's watch of Romeo
	cseq    uint32
	sockets []io.Closer
}

// quietLibrary keeps the library's own log, part of which goes to a logger of the whole process, out of what the demo shows.
var quietLibrary = sync.OnceFunc(func() { sip.SetDefaultLogger(slog.New(slog.DiscardHandler)) })

// dialog is what Romeo knows of a watch that the gateway opened.
type dialog struct {
	callID, localTag, remote string
	target                   sip.Uri
	cseq                     uint32
}

// listenBoth opens a UDP and a TCP socket of loopback on one port.
func listenBoth() (net.PacketConn, net.Listener, error) {
	var last error
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return p, l, nil
		}
		last = err
		l.Close()
	}
	return nil, nil, last
}

func newSIPUser() (*sipUser, error) {
	packets, stream, err := listenBoth()
	if err != nil {
		return nil, err
	}
	u := &sipUser{
		port: stream.Addr().(*net.TCPAddr).Port, tag: sip.GenerateTagN(16),
		messages: newInbox[*sip.Request](), documents: newInbox[*sip.Request](),
		sockets: []io.Closer{packets, stream},
	}
	quiet := slog.New(slog.DiscardHandler)
	quietLibrary()
	if u.agent, err = sipgo.NewUA(
		sipgo.WithUserAgent("romeo"), sipgo.WithUserAgentHostname("127.0.0.1"),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet)),
	); err != nil {
		u.close()
		return nil, err
	}
	server, err := sipgo.NewServer(u.agent, sipgo.WithServerLogger(quiet))
	if err != nil {
		u.close()
		return nil, err
	}
	server.OnMessage(u.onMessage)
	server.OnNotify(u.onNotify)
	server.OnSubscribe(u.onSubscribe)
	go server.ServeUDP(packets)
	go server.ServeTCP(stream)
	if u.client, err = sipgo.NewClient(u.agent,
		sipgo.WithClientHostname("127.0.0.1"), sipgo.WithClientPort(u.port), sipgo.WithClientLogger(quiet),
	); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *sipUser) close() {
	if u.agent != nil {
		_ = u.agent.Close()
	}
	for _, s := range u.sockets {
		_ = s.Close() // closed already with the agent, perhaps
	}
}

func answer(req *sip.Request, tx sip.ServerTransaction, code int, reason string, headers ...sip.Header) {
	res := sip.NewResponseFromRequest(req, code, reason, nil)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	_ = tx.Respond(res) // the gateway asks again if this is lost
}

func (u *sipUser) onMessage(req *sip.Request, tx sip.ServerTransaction) {
	answer(req, tx, 200, "OK")
	u.messages.put(req)
}

func (u *sipUser) onNotify(req *sip.Request, tx sip.ServerTransaction) {
	answer(req, tx, 200, "OK")
	u.documents.put(req)
}

// onSubscribe takes every watch; what it tells is up to present.
func (u *sipUser) onSubscribe(req *sip.Request, tx sip.ServerTransaction) {
	contact := req.Contact()
	if contact == nil {
		answer(req, tx, 400, "No Contact")
		return
	}
	from, _ := req.From().Params.Get("tag")
	d := &dialog{
		callID: req.CallID().Value(), localTag: u.tag, target: contact.Address,
		remote: fmt.Sprintf("<%s>;tag=%s", req.From().Address.String(), from),
	}
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	res.To().Params.Add("tag", d.localTag)
	res.AppendHeader(sip.NewHeader("Contact", u.contact("TCP")))
	res.AppendHeader(sip.NewHeader("Expires", "3600"))
	u.mu.Lock()
	u.watched = d
	u.mu.Unlock()
	_ = tx.Respond(res)
}

func (u *sipUser) contact(transport string) string {
	return fmt.Sprintf("<sip:romeo@127.0.0.1:%d;transport=%s>", u.port, transport)
}

// request sends one request to the gateway over transport and returns the final answer.
func (u *sipUser) request(ctx context.Context, method sip.RequestMethod, uri, transport string, to string, headers []sip.Header, body string) (*sip.Response, error) {
	var target sip.Uri
	if err := sip.ParseUri(uri, &target); err != nil {
		return nil, err
	}
	req := sip.NewRequest(method, target)
	req.SetTransport(transport)
	req.SetDestination(u.udp)
	if transport == "TCP" {
		req.SetDestination(u.tcp)
	}
	u.mu.Lock()
	u.cseq++
	cseq := u.cseq
	u.mu.Unlock()
	req.AppendHeader(sip.NewHeader("From", fmt.Sprintf("\"Romeo\" <sip:romeo@example.net;gr=orchard>;tag=%s", u.tag)))
	req.AppendHeader(sip.NewHeader("To", to))
	req.AppendHeader(sip.NewHeader("CSeq", strconv.FormatUint(uint64(cseq), 10)+" "+string(method)))
	req.AppendHeader(sip.NewHeader("Max-Forwards", "70"))
	for _, h := range headers {
		req.AppendHeader(h)
	}
	req.SetBody([]byte(body))
	return u.client.Do(ctx, req)
}

// say sends a message to Juliet over UDP and returns the answer's code.
func (u *sipUser) say(ctx context.Context, callID, subject, text string) (int, error) {
	res, err := u.request(ctx, sip.MESSAGE, "sip:juliet@example.com", "UDP", "<sip:juliet@example.com>", []sip.Header{
		sip.NewHeader("Call-ID", callID), sip.NewHeader("Subject", subject), sip.NewHeader("Content-Language", "en"),
		sip.NewHeader("Content-Type", "text/plain;charset=UTF-8"),
	}, text)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, nil
}

// watch asks for Juliet's presence over UDP.
func (u *sipUser) watch(ctx context.Context) error {
	res, err := u.request(ctx, sip.SUBSCRIBE, "sip:juliet@example.com", "UDP", "<sip:juliet@example.com>", []sip.Header{
		sip.NewHeader("Call-ID", "watch-of-juliet"), sip.NewHeader("Event", "presence"), sip.NewHeader("Expires", "600"),
		sip.NewHeader("Accept", "application/pidf+xml"), sip.NewHeader("Contact", u.contact("UDP")),
	}, "")
	if err != nil {
		return err
	}
	if !res.IsSuccess() {
		return fmt.Errorf("SUBSCRIBE was answered %d %s", res.StatusCode, res.Reason)
	}
	return nil
}

// present tells the gateway, which watches Romeo, how he is, over TCP.
func (u *sipUser) present(ctx context.Context, document string) error {
	u.mu.Lock()
	d := u.watched
	if d != nil {
		d.cseq++
	}
	u.mu.Unlock()
	if d == nil {
		return errors.New("nobody watches Romeo")
	}
	req := sip.NewRequest(sip.NOTIFY, d.target)
	req.SetTransport("TCP")
	req.SetDestination(u.tcp)
	for _, h := range [][2]string{
		{"From", "<sip:romeo@example.net>;tag=" + d.localTag},
		{"To", d.remote},
		{"Call-ID", d.callID},
		{"CSeq", fmt.Sprintf("%d NOTIFY", d.cseq)},
		{"Max-Forwards", "70"},
		{"Contact", u.contact("TCP")},
		{"Event", "presence"},
		{"Subscription-State", "active;expires=3600"},
		{"Content-Type", "application/pidf+xml"},
	} {
		req.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	req.SetBody([]byte(document))
	res, err := u.client.Do(ctx, req)
	if err != nil {
		return err
	}
	if !res.IsSuccess() {
		return fmt.Errorf("NOTIFY was answered %d %s", res.StatusCode, res.Reason)
	}
	return nil
}

// isWatched tells whether the gateway has opened a watch of Romeo.
func (u *sipUser) isWatched() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.watched != nil
}
