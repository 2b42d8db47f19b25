package demo

import (
	"fmt"
	"sync"

	"gosrc.io/xmpp"
	"gosrc.io/xmpp/stanza"
)

// xmppUser is Juliet: an XMPP client on gosrc.io/xmpp, a library that none of the gateway's XMPP side uses.
type xmppUser struct {
	client *xmpp.Client

	// messages and presences get what arrives; they are buffered well beyond what the demo sends.
	messages  chan stanza.Message
	presences chan stanza.Presence

	mu    sync.Mutex
	fault error
}

// newXMPPUser logs juliet@example.com in to the server at address.
func newXMPPUser(address string) (*xmppUser, error) {
	u := &xmppUser{messages: make(chan stanza.Message, 16), presences: make(chan stanza.Presence, 16)}
	router := xmpp.NewRouter()
	router.HandleFunc("message", func(_ xmpp.Sender, p stanza.Packet) {
		if m, ok := p.(stanza.Message); ok {
			u.messages <- m
		}
	})
	router.HandleFunc("presence", func(_ xmpp.Sender, p stanza.Packet) {
		if s, ok := p.(stanza.Presence); ok && s.From != "" {
			u.presences <- s
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
	return u, nil
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
