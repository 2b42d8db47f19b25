package demo

import (
	"context"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
	"gosrc.io/xmpp/stanza"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// messageFromSIP: Romeo (SIP, over UDP) writes to Juliet (XMPP).
func (s *stage) messageFromSIP(ctx context.Context) (Crossing, error) {
	c := Crossing{What: "message", From: "SIP", To: "XMPP", Form: "Message/CPIM"}
	const callID = "9E97FB43-85F4-4A00-8751-1124FD4C7B2E"
	code, err := s.romeo.say(ctx, callID, "The balcony", romeoSays)
	if err == nil && code/100 != 2 {
		err = fmt.Errorf("the gateway answered %d", code)
	}
	if err == nil {
		err = s.juliet.messages.take(ctx, "the message", func(m stanza.Message) bool {
			return m.Body == romeoSays && m.Thread == callID && m.From == "romeo@example.net/orchard"
		})
	}
	in, middle, out := s.native("sip", adapters.Inbound, "MESSAGE sip:juliet"), s.canonical(false), s.native("xmpp", adapters.Outbound, "<message", "<body")
	return s.show(ctx, c, err, in, middle, out)
}

// messageFromXMPP: Juliet (XMPP) writes to Romeo (SIP, over TCP, found by DNS).
func (s *stage) messageFromXMPP(ctx context.Context) (Crossing, error) {
	c := Crossing{What: "message", From: "XMPP", To: "SIP", Form: "Message/CPIM"}
	const thread = "0E97FB43-85F4-4A00-8751-1124FD4C7B2E"
	err := s.juliet.say("m1", thread, "Who art thou", julietSays)
	if err == nil {
		err = s.romeo.messages.take(ctx, "the message", func(m *sip.Request) bool {
			return string(m.Body()) == julietSays && m.CallID().Value() == thread && m.From().Address.User == "juliet"
		})
	}
	in, middle, out := s.native("xmpp", adapters.Inbound, "<message", "<body"), s.canonical(false), s.native("sip", adapters.Outbound, "MESSAGE sip:romeo")
	return s.show(ctx, c, err, in, middle, out)
}

// presenceFromXMPP: Romeo (SIP) asks to see Juliet (XMPP), she agrees, and then goes away for a while.
func (s *stage) presenceFromXMPP(ctx context.Context) (Crossing, error) {
	c := Crossing{What: "presence change", From: "XMPP", To: "SIP", Form: "PIDF"}
	err := s.romeo.watch(ctx)
	if err == nil {
		err = s.juliet.presences.take(ctx, "the request", presenceOf(stanza.PresenceTypeSubscribe))
	}
	if err == nil {
		err = s.juliet.presence("romeo@example.net", stanza.PresenceTypeSubscribed)
	}
	if err == nil {
		err = s.romeo.documents.take(ctx, "the approval", func(r *sip.Request) bool {
			return headerOf(r, "Subscription-State") == "active"
		})
	}
	if err == nil {
		s.forget() // what led here; the change is what is shown
		err = s.juliet.show("away", "at the balcony")
	}
	if err == nil {
		err = s.romeo.documents.take(ctx, "the change", func(r *sip.Request) bool {
			b := string(r.Body())
			return strings.Contains(b, "<basic>open</basic>") && strings.Contains(b, ">away<") && strings.Contains(b, "at the balcony")
		})
	}
	in, middle, out := s.native("xmpp", adapters.Inbound, "<presence", "away"), s.canonical(true), s.native("sip", adapters.Outbound, "NOTIFY ", "away")
	return s.show(ctx, c, err, in, middle, out)
}

// presenceFromSIP: Juliet (XMPP) asks to see Romeo (SIP), he lets her, and tells how he is.
func (s *stage) presenceFromSIP(ctx context.Context) (Crossing, error) {
	c := Crossing{What: "presence change", From: "SIP", To: "XMPP", Form: "PIDF"}
	err := s.juliet.presence("romeo@example.net", stanza.PresenceTypeSubscribe)
	if err == nil {
		err = await(ctx, "watch of Romeo", s.romeo.isWatched)
	}
	if err == nil {
		err = s.romeo.present(ctx, romeoIs)
	}
	if err == nil {
		err = s.juliet.presences.take(ctx, "the approval", presenceOf(stanza.PresenceTypeSubscribed))
	}
	if err == nil {
		err = s.juliet.presences.take(ctx, "the change", func(p stanza.Presence) bool {
			return p.From == "romeo@example.net/orchard" && p.Show == stanza.PresenceShowAway && p.Status == "over the wall"
		})
	}
	in, middle, out := s.native("sip", adapters.Inbound, "NOTIFY ", "orchard"), s.canonical(true), s.native("xmpp", adapters.Outbound, "<presence", "away")
	return s.show(ctx, c, err, in, middle, out)
}

// headerOf returns a header's value without its parameters.
func headerOf(r *sip.Request, name string) string {
	h := r.GetHeader(name)
	if h == nil {
		return ""
	}
	v, _, _ := strings.Cut(h.Value(), ";")
	return strings.TrimSpace(v)
}
