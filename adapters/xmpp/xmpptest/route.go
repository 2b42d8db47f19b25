package xmpptest

import (
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// route delivers a stamped stanza. The caller holds the lock; origin is told of failures.
func (s *Server) route(e *strictxml.Element, from, to jid.JID, origin *session) {
	kind, _ := e.Attr("", "type")
	if c := s.byHost[to.Domain()]; c != nil {
		c.deliver(e)
		return
	}
	switch {
	case to.Domain() != s.self.Domain():
		s.bounce(e, kind, "remote-server-not-found", origin)
	case to.Local() == "":
		s.iq(e, kind, origin)
	case e.Name.Local == "presence":
		s.presence(e, from, to, kind, origin)
	case to.IsFull():
		if c := s.byJID[to]; c != nil {
			c.deliver(e)
		} else {
			s.bounce(e, kind, "service-unavailable", origin)
		}
	case e.Name.Local == "message":
		// RFC 6121 §8.5.2.1.1: to the available resources.
		n := 0
		for j, c := range s.byJID {
			if j.Bare() == to && c.presence != nil {
				c.deliver(e)
				n++
			}
		}
		if n == 0 {
			s.bounce(e, kind, "service-unavailable", origin)
		}
	default:
		s.bounce(e, kind, "service-unavailable", origin)
	}
}

// bounce answers a stanza that cannot be delivered; errors and results are not answered (RFC 6120 §8.3.1).
func (s *Server) bounce(e *strictxml.Element, kind, condition string, origin *session) {
	if kind == "error" || kind == "result" || origin == nil || e.Name.Local == "presence" && (kind == "" || kind == "unavailable") {
		return
	}
	origin.deliver(failed(e, "cancel", condition))
}

// iq answers what is for the server itself from a component.
func (s *Server) iq(e *strictxml.Element, kind string, origin *session) {
	if e.Name.Local == "iq" && kind == "get" && e.Child(spacePing, "ping") != nil {
		origin.deliver(answer(e, "result", nil))
		return
	}
	s.bounce(e, kind, "service-unavailable", origin)
}

// own handles what a client sends to its own account or server.
func (s *Server) own(c *session, e *strictxml.Element) {
	kind, _ := e.Attr("", "type")
	switch {
	case e.Name.Local == "presence" && (kind == "" || kind == "unavailable"):
		first := c.presence == nil
		c.presence = e
		if kind == "unavailable" {
			c.presence = nil
		}
		s.broadcast(c, e)
		if first && c.presence != nil { // RFC 6121 §4.2.2
			for contact := range s.rosters[c.jid.Bare()].to {
				probe := element("presence", "type", "probe")
				s.route(stamped(probe, c.jid.Bare(), contact), c.jid.Bare(), contact, nil)
			}
		}
	case e.Name.Local == "iq" && kind == "get" && e.Child(spaceRoster, "query") != nil:
		q := &strictxml.Element{Name: strictxml.Name{Space: spaceRoster, Local: "query"}}
		r := s.rosters[c.jid.Bare()]
		for contact := range r.to {
			state := "to"
			if r.from[contact] {
				state = "both"
			}
			item := element("item", "jid", contact.String(), "subscription", state)
			item.Name.Space = spaceRoster
			q.Nodes = append(q.Nodes, strictxml.Node{Element: item})
		}
		c.deliver(answer(e, "result", q))
	case e.Name.Local == "iq" && (kind == "get" && e.Child(spacePing, "ping") != nil || kind == "set" && e.Child(spaceSession, "session") != nil):
		c.deliver(answer(e, "result", nil))
	case e.Name.Local == "iq" && (kind == "get" || kind == "set"):
		c.deliver(failed(e, "cancel", "service-unavailable"))
	}
}

// broadcast tells everybody who may see the user (RFC 6121 §4.2.2, §4.4.2, §4.5.2).
func (s *Server) broadcast(c *session, e *strictxml.Element) {
	for contact := range s.rosters[c.jid.Bare()].from {
		s.route(stamped(e, c.jid, contact), c.jid, contact, nil)
	}
}

// tellAll tells contact the presence of all of user's devices (RFC 6121 §3.1.5).
func (s *Server) tellAll(user, contact jid.JID) {
	for j, c := range s.byJID {
		if j.Bare() == user && c.presence != nil {
			s.route(stamped(c.presence, j, contact), j, contact, nil)
		}
	}
}

// agree notes what a user's own request does to its roster.
func (s *Server) agree(user, contact jid.JID, kind string) {
	r := s.rosters[user]
	if r == nil || len(r.from)+len(r.to) >= maxRoster {
		return
	}
	switch kind {
	case "subscribed":
		r.from[contact] = true
	case "unsubscribed":
		delete(r.from, contact)
	case "unsubscribe":
		delete(r.to, contact)
	}
}

// presence handles presence from a component for a user (RFC 6121 §3, §4.3.2).
func (s *Server) presence(e *strictxml.Element, from, to jid.JID, kind string, origin *session) {
	user := to.Bare()
	r := s.rosters[user]
	if r == nil {
		if kind == "subscribe" || kind == "probe" {
			if origin != nil {
				origin.deliver(element("presence", "from", user.String(), "to", from.Bare().String(), "type", "unsubscribed"))
			}
		}
		return
	}
	contact := from.Bare()
	switch kind {
	case "probe":
		if !r.from[contact] {
			if origin != nil {
				origin.deliver(element("presence", "from", user.String(), "to", contact.String(), "type", "unsubscribed"))
			}
			return
		}
		n := 0
		for j, c := range s.byJID {
			if j.Bare() == user && c.presence != nil {
				s.route(stamped(c.presence, j, from), j, from, nil)
				n++
			}
		}
		if n == 0 && origin != nil {
			origin.deliver(element("presence", "from", user.String(), "to", from.String(), "type", "unavailable"))
		}
		return
	case "subscribe":
		if r.from[contact] { // RFC 6121 §3.1.3 rule 2
			if origin != nil {
				origin.deliver(element("presence", "from", user.String(), "to", contact.String(), "type", "subscribed"))
			}
			s.tellAll(user, contact)
			return
		}
	case "subscribed":
		if len(r.to) < maxRoster {
			r.to[contact] = true
		}
	case "unsubscribed":
		delete(r.to, contact)
	case "unsubscribe":
		delete(r.from, contact)
	}
	for j, c := range s.byJID {
		if j.Bare() == user && (!to.IsFull() || j == to) {
			c.deliver(e)
		}
	}
}
