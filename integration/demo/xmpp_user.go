package demo

import (
	"context"
	"fmt"
	"sync"

	"gosrc.io/xmpp"
	"gosrc.io/xmpp/stanza"
)

// xmppUser is Juliet: an XMPP client on gosrc.io/xmpp, a library that none of the gateway's XMPP side uses.
type xmppUser struct {
	client *xmpp.Client

	messages  *inbox[stanza.Message]
	presences *inbox[stanza.Presence]

	mu    sync.Mutex
	fault error
}

// presentID is the id of the question that follows her first presence.
const presentID = "present"

// newXMPPUser logs juliet@example.com in to the server at address, and waits until the server knows that she is there.
func newXMPPUser(ctx context.Context, address string) (*xmppUser, error) {
	u := &xmppUser{messages: newInbox[stanza.Message](), presences: newInbox[stanza.Presence]()}
	present := make(chan struct{})
	answered := sync.OnceFunc(func() { close(present) })
	router := xmpp.NewRouter()
	router.HandleFunc("iq", func(_ xmpp.Sender, p stanza.Packet) {
		if iq, ok := p.(*stanza.IQ); ok && iq.Id == presentID {
			answered()
		}
	})
	router.HandleFunc("message", func(_ xmpp.Sender, p stanza.Packet) {
		if m, ok := p.(stanza.Message); ok {
			u.messages.put(m)
		}
	})
	router.HandleFunc("presence", func(_ xmpp.Sender, p stanza.Packet) {
		if s, ok := p.(stanza.Presence); ok && s.From != "" {
			u.presences.put(s)
		}
	})
	var err error
	if u.client, err = xmpp.NewClient(&xmpp.Config{
		TransportConfiguration: xmpp.TransportConfiguration{Address: address, Domain: "example.com"},
		Jid:                    "juliet@example.com/balcony",
		Credential:             xmpp.Password("rose"),
		Insecure:               true, // the demo's server is in this process, on loopback
		ConnectTimeout:         5,
	}, router, u.failed); err != nil {
		return nil, err
	}
	if err := u.client.Connect(); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	// The library has sent her presence. Stanzas are handled in order (RFC 6120 §10.1), so any answer to a later one means that
	// it has been seen.
	ping, err := stanza.NewIQ(stanza.Attrs{Type: stanza.IQTypeGet, To: "example.com", Id: presentID})
	if err != nil {
		return nil, err
	}
	ping.Payload = &stanza.DiscoInfo{}
	// Not by the library's SendIQ, which may send before it listens for the answer.
	if err := u.client.Send(ping); err != nil {
		return nil, err
	}
	select {
	case <-present:
		return u, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer from the server: %w", ctx.Err())
	}
}

func (u *xmppUser) failed(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fault == nil {
		u.fault = err
	}
}

func (u *xmppUser) close() { _ = u.client.Disconnect() }

// say sends a message to Romeo.
func (u *xmppUser) say(id, thread, subject, text string) error {
	return u.client.Send(stanza.Message{
		Attrs:   stanza.Attrs{To: "romeo@example.net", Id: id, Type: stanza.MessageTypeChat, Lang: "en"},
		Subject: subject, Body: text, Thread: thread,
	})
}

// presence sends a presence stanza: to Romeo one of a type such as "subscribe", or without a type and a recipient her own.
func (u *xmppUser) presence(to string, kind stanza.StanzaType) error {
	return u.client.Send(stanza.Presence{Attrs: stanza.Attrs{To: to, Type: kind}})
}

// show tells that she is away, and why.
func (u *xmppUser) show(show, status string) error {
	return u.client.Send(stanza.Presence{Show: stanza.PresenceShow(show), Status: status})
}
