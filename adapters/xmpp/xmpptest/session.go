package xmpptest

import (
	"encoding/base64"
	"net"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

const (
	spaceClient  = "jabber:client"
	spaceSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	spaceBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	spaceSession = "urn:ietf:params:xml:ns:xmpp-session"
	spaceRoster  = "jabber:iq:roster"
	spacePing    = "urn:xmpp:ping"
	spaceErrors  = "urn:ietf:params:xml:ns:xmpp-stanzas"
)

// session is one connection. Its reader owns it until it is bound; then the server's lock guards what routing needs.
type session struct {
	srv   *Server
	conn  net.Conn
	out   chan []byte
	gone  chan struct{}
	space string // the stream's default namespace
	host  string // of a component

	jid      jid.JID            // of a client, full
	presence *strictxml.Element // the last one of a client, nil when not available
}

// write is the only writer of the connection.
func (c *session) write() {
	defer c.conn.Close()
	for {
		select {
		case b := <-c.out:
			c.conn.SetWriteDeadline(time.Now().Add(ioTimeout))
			if _, err := c.conn.Write(b); err != nil {
				return
			}
		case <-c.gone:
			for { // the last words
				select {
				case b := <-c.out:
					c.conn.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err := c.conn.Write(b); err != nil {
						return
					}
				default:
					return
				}
			}
		}
	}
}

// send queues octets; a connection that does not read is closed.
func (c *session) send(b []byte) {
	select {
	case c.out <- b:
	default:
		c.conn.Close()
	}
}

func (c *session) open(from, id string) {
	b := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='"+c.space+"' xmlns:stream='"+stream.SpaceStreams+"' from='"...)
	b = strictxml.AppendAttrValue(b, from)
	b = append(b, "' id='"+id+"'"...)
	if c.space == spaceClient {
		b = append(b, " version='1.0'"...)
	}
	c.send(append(b, '>'))
}

// deliver writes e in this session's namespace. The caller holds the server's lock.
func (c *session) deliver(e *strictxml.Element) {
	c.send(appendMoved(nil, e, c.space))
}

// appendMoved writes e with the namespaces of streams replaced by space (RFC 6120 §4.8.3: the content namespace of another stream).
func appendMoved(dst []byte, e *strictxml.Element, space string) []byte {
	w := strictxml.NewStanzaWriter(dst, space)
	move(w, e, space)
	return w.Bytes()
}

func move(w *strictxml.Writer, e *strictxml.Element, space string) {
	n := e.Name
	if n.Space == "" || n.Space == spaceClient || n.Space == stream.SpaceComponent {
		n.Space = space
	}
	w.Start(n)
	for _, a := range e.Attrs {
		if a.Name.Space == "" {
			w.Attr(a.Name.Local, a.Value)
		} else if a.Name.Space == strictxml.XMLNamespace {
			w.AttrNS(a.Name, a.Value)
		}
	}
	for _, k := range e.Nodes {
		if k.Element != nil {
			move(w, k.Element, space)
		} else {
			w.Text(k.Text)
		}
	}
	w.End()
}

// serveComponent is the accepting side of XEP-0114.
func (c *session) serveComponent() {
	c.space = stream.SpaceComponent
	c.conn.SetReadDeadline(time.Now().Add(ioTimeout))
	in := strictxml.NewStream(c.conn, strictxml.Limits{})
	root, scope, err := in.Header()
	id := randomID()
	if err != nil {
		c.open("", id)
		c.end(stream.ConditionOf(err))
		return
	}
	host, _ := root.Attr("", "to")
	c.open(host, id)
	secret, known := c.srv.cfg.Components[host]
	if space, _ := scope.Lookup(""); space != stream.SpaceComponent {
		c.end(stream.InvalidNamespace)
		return
	}
	if !known {
		c.end(stream.HostUnknown)
		return
	}
	raw, err := in.Next()
	if err != nil {
		c.end(stream.ConditionOf(err))
		return
	}
	e, err := strictxml.ParseElement(raw, scope, strictxml.Limits{})
	if err != nil || e.Name != (strictxml.Name{Space: c.space, Local: "handshake"}) || !stream.CheckHandshake(e.Text(), id, []byte(secret)) {
		c.end(stream.NotAuthorized)
		return
	}
	s := c.srv
	s.mu.Lock()
	if s.byHost[host] != nil {
		s.mu.Unlock()
		c.end(stream.Conflict)
		return
	}
	c.host = host
	s.byHost[host] = c
	c.send([]byte("<handshake/>"))
	s.mu.Unlock()
	c.conn.SetReadDeadline(time.Time{})
	c.loop(in, scope, func(e *strictxml.Element) bool {
		from, to, ok := addresses(e)
		if !ok || from.Domain() != host {
			c.end(stream.ImproperAddressing)
			return false
		}
		s.mu.Lock()
		s.route(e, from, to, c)
		s.mu.Unlock()
		return true
	})
}

// end closes the stream, with an error if cond is not 0.
func (c *session) end(cond stream.Condition) {
	if cond != 0 {
		c.send(stream.AppendError(nil, cond))
	} else {
		c.send([]byte("</stream:stream>"))
	}
}

func (c *session) loop(in *strictxml.Stream, scope *strictxml.Scope, handle func(*strictxml.Element) bool) {
	for {
		raw, err := in.Next()
		var e *strictxml.Element
		if err == nil {
			e, err = strictxml.ParseElement(raw, scope, strictxml.Limits{})
		}
		if err != nil {
			c.end(stream.ConditionOf(err))
			return
		}
		if !handle(e) {
			return
		}
	}
}

func addresses(e *strictxml.Element) (from, to jid.JID, ok bool) {
	f, _ := e.Attr("", "from")
	t, _ := e.Attr("", "to")
	from, err1 := jid.Parse(f)
	to, err2 := jid.Parse(t)
	return from, to, err1 == nil && err2 == nil
}

// serveClient logs a client in (RFC 6120 §6, §7) and takes its stanzas.
func (c *session) serveClient() {
	c.space = spaceClient
	c.conn.SetReadDeadline(time.Now().Add(ioTimeout))
	in := strictxml.NewStream(c.conn, strictxml.Limits{Bytes: 16 << 10})
	_, scope, err := in.Header()
	c.open(c.srv.cfg.Domain, randomID())
	if err != nil {
		c.end(stream.ConditionOf(err))
		return
	}
	c.send([]byte("<stream:features><mechanisms xmlns='" + spaceSASL + "'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"))
	raw, err := in.Next()
	if err != nil {
		c.end(stream.ConditionOf(err))
		return
	}
	e, err := strictxml.ParseElement(raw, scope, strictxml.Limits{})
	user := ""
	if err == nil && e.Name == (strictxml.Name{Space: spaceSASL, Local: "auth"}) {
		user = c.srv.plain(e.Text())
	}
	if user == "" {
		c.send([]byte("<failure xmlns='" + spaceSASL + "'><not-authorized/></failure>"))
		c.end(0)
		return
	}
	c.send([]byte("<success xmlns='" + spaceSASL + "'/>"))
	in.Restart()
	if _, scope, err = in.Header(); err != nil {
		c.end(stream.ConditionOf(err))
		return
	}
	c.open(c.srv.cfg.Domain, randomID())
	c.send([]byte("<stream:features><bind xmlns='" + spaceBind + "'/><session xmlns='" + spaceSession + "'><optional/></session></stream:features>"))
	in.SetLimits(strictxml.Limits{})
	c.loop(in, scope, func(e *strictxml.Element) bool { return c.fromClient(e, user) })
}

// plain checks SASL PLAIN (RFC 4616 §2) and returns the user, "" if it is wrong.
func (s *Server) plain(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	parts := strings.Split(string(raw), "\x00")
	if len(parts) != 3 {
		return ""
	}
	if want, ok := s.cfg.Users[parts[1]]; ok && want == parts[2] {
		return parts[1]
	}
	return ""
}

// fromClient handles one stanza of a client.
func (c *session) fromClient(e *strictxml.Element, user string) bool {
	s := c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.jid.IsZero() {
		bind := e.Child(spaceBind, "bind")
		if bind == nil {
			return false
		}
		resource := "r" + randomID()
		if r := bind.Child(spaceBind, "resource"); r != nil && r.Text() != "" {
			resource = r.Text()
		}
		j, err := jid.New(jid.Parts{Local: user, Domain: s.cfg.Domain, Resource: resource})
		if err != nil || s.byJID[j] != nil {
			return false
		}
		c.jid = j
		s.byJID[j] = c
		c.conn.SetReadDeadline(time.Time{})
		full := element("jid")
		full.Name.Space = spaceBind
		full.Nodes = []strictxml.Node{{Text: j.String()}}
		result := &strictxml.Element{Name: strictxml.Name{Space: spaceBind, Local: "bind"}, Nodes: []strictxml.Node{{Element: full}}}
		c.deliver(answer(e, "result", result))
		return true
	}
	to, _ := e.Attr("", "to")
	if to == "" || to == s.cfg.Domain || to == c.jid.Bare().String() && e.Name.Local == "iq" {
		s.own(c, e)
		return true
	}
	target, err := jid.Parse(to)
	if err != nil {
		c.deliver(failed(e, "modify", "jid-malformed"))
		return true
	}
	from := c.jid
	if e.Name.Local == "presence" {
		switch t, _ := e.Attr("", "type"); t {
		case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
			from = from.Bare() // RFC 6121 §3.1.2
			target = target.Bare()
			s.agree(from, target, t)
			if t == "subscribed" && c.presence != nil {
				defer s.tellAll(from, target)
			}
		}
	}
	s.route(stamped(e, from, target), from, target, c)
	return true
}

// stamped is e with the server's idea of from and to.
func stamped(e *strictxml.Element, from, to jid.JID) *strictxml.Element {
	out := element(e.Name.Local, "from", from.String(), "to", to.String())
	for _, a := range e.Attrs {
		if a.Name.Space != "" || a.Name.Local != "from" && a.Name.Local != "to" {
			out.Attrs = append(out.Attrs, a)
		}
	}
	out.Nodes = e.Nodes
	return out
}

// answer makes the answer to an iq.
func answer(e *strictxml.Element, kind string, payload *strictxml.Element) *strictxml.Element {
	id, _ := e.Attr("", "id")
	out := element(e.Name.Local, "type", kind, "id", id)
	if to, ok := e.Attr("", "from"); ok {
		out.Attrs = append(out.Attrs, strictxml.Attr{Name: strictxml.Name{Local: "to"}, Value: to})
	}
	if from, ok := e.Attr("", "to"); ok {
		out.Attrs = append(out.Attrs, strictxml.Attr{Name: strictxml.Name{Local: "from"}, Value: from})
	}
	if payload != nil {
		out.Nodes = []strictxml.Node{{Element: payload}}
	}
	return out
}

func failed(e *strictxml.Element, kind, condition string) *strictxml.Element {
	c := &strictxml.Element{Name: strictxml.Name{Space: spaceErrors, Local: condition}}
	er := element("error", "type", kind)
	er.Nodes = []strictxml.Node{{Element: c}}
	return answer(e, "error", er)
}
