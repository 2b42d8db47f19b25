package stream_test

import (
	"strings"
	"testing"
)

// Pieces of scripts. In those that peers write, a header ends where the next element may begin.
const (
	theirHeader   = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' to='montague.example' version='1.0'>"
	theirAnswer   = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='montague.example' to='capulet.example' id='1' version='1.0'>"
	ourHeader     = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' to='montague.example' version='1.0'>"
	ourAnswer     = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='montague.example' to='capulet.example' id='{id}' version='1.0'>"
	ourAnswerDB   = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' from='montague.example' to='capulet.example' id='{id}' version='1.0'>"
	tlsRequired   = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
	offersTLS     = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"
	wantsTLS      = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	proceed       = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	offersSASL    = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>"
	externalEmpty = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"
	externalAuth  = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>Y2FwdWxldC5leGFtcGxl</auth>"
	success       = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	aMessage      = "<message from='romeo@capulet.example' to='juliet@montague.example'><body>hi</body></message>"
)

func streamError(condition string) string {
	return "<stream:error><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
}

// lines joins the steps of a script.
func lines(steps ...string) string { return strings.Join(steps, "\n") }

// untilTLS are the steps up to the offer of TLS, secured those up to the offer of EXTERNAL, in either role.
func untilTLS(role string) string {
	if role == "initiating" {
		return lines("we: "+ourHeader, "peer: "+theirAnswer)
	}
	return lines("peer: "+theirHeader, "we: "+ourAnswer, "we: "+tlsRequired)
}

func secured(role string) string {
	if role == "initiating" {
		return lines(untilTLS(role), "peer: "+offersTLS, "we: "+wantsTLS, "peer: "+proceed, "tls", "we: "+ourHeader, "peer: "+theirAnswer)
	}
	return lines(untilTLS(role), "peer: "+wantsTLS, "we: "+proceed, "tls", "peer: "+theirHeader, "we: "+ourAnswer, "we: "+offersSASL)
}

// TestStrippedTTL07: whatever someone on the path takes away, answers or offers instead of TLS, no stanza, no authentication and no
// dialback is sent or taken in the clear (THREATS.md X8). "clients and servers that prefer TLS ... MUST" not go on (RFC 7590 §3.1 and
// RFC 6120 §5.3.1).
func TestStrippedTTL07(t *testing.T) {
	initiating := "set: role=initiating external dialback bidi"
	header := strings.Replace(ourHeader, "xmlns:stream", "xmlns:db='jabber:server:dialback' xmlns:stream", 1)
	open := lines(initiating, "we: "+header)
	end := func(condition string) string {
		return lines("we: "+streamError(condition), "we: </stream:stream>", "gone")
	}
	for name, script := range map[string]string{
		"STARTTLS taken away": lines(open, "peer: "+theirAnswer+"<stream:features/>", end("policy-violation"), "failed: does not offer STARTTLS"),
		"dialback instead": lines(open, "peer: "+theirAnswer+"<stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>",
			end("policy-violation"), "failed: does not offer STARTTLS"),
		"EXTERNAL instead":    lines(open, "peer: "+theirAnswer+offersSASL, end("policy-violation"), "failed: does not offer STARTTLS"),
		"compression instead": lines(open, "peer: "+theirAnswer+"<stream:features><compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression></stream:features>", end("policy-violation"), "failed: does not offer STARTTLS"),
		"STARTTLS in another namespace": lines(open, "peer: "+theirAnswer+"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tl'/></stream:features>",
			end("policy-violation"), "failed: does not offer STARTTLS"),
		"version taken away": lines(open, "peer: "+strings.Replace(theirAnswer, " version='1.0'", "", 1), end("unsupported-version"), "failed: version"),
		"version 0.9":        lines(open, "peer: "+strings.Replace(theirAnswer, "1.0", "0.9", 1), end("unsupported-version"), "failed: version"),
		"failure":            lines(open, "peer: "+theirAnswer+offersTLS, "we: "+wantsTLS, "peer: <failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "we: </stream:stream>", "gone", "failed: refused it"),
		"features instead":   lines(open, "peer: "+theirAnswer+offersTLS, "we: "+wantsTLS, "peer: <stream:features/>", end("bad-format"), "failed: no answer to STARTTLS"),
		"success instead":    lines(open, "peer: "+theirAnswer+offersTLS, "we: "+wantsTLS, "peer: "+success, end("bad-format"), "failed: no answer to STARTTLS"),
		"valid instead":      lines(open, "peer: "+theirAnswer+offersTLS, "we: "+wantsTLS, "peer: <db:result xmlns:db='jabber:server:dialback' from='montague.example' to='capulet.example' type='valid'/>", end("bad-format"), "failed: no answer to STARTTLS"),
		"XML instead of TLS": lines(open, "peer: "+theirAnswer+offersTLS, "we: "+wantsTLS, "peer: "+proceed, "peer: "+theirAnswer, "failed: TLS"),
		"failure, clear allowed": lines(initiating+" cleartext", "we: "+header, "peer: "+theirAnswer+offersTLS, "we: "+wantsTLS,
			"peer: <failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "we: </stream:stream>", "gone", "failed: refused it"),
		"EXTERNAL in the clear, clear allowed": lines(initiating+" cleartext", "we: "+header, "peer: "+theirAnswer+offersSASL, "opened:"),
		"a stanza":                             lines("set: role=receiving", untilTLS("receiving"), "peer: "+aMessage, end("not-authorized"), "failed: before authentication"),
		"EXTERNAL": lines("set: role=receiving", untilTLS("receiving"), "peer: "+externalAuth,
			"we: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><encryption-required/></failure>", "peer: "+aMessage, end("not-authorized"), "failed: before authentication"),
		"dialback": lines("set: role=receiving dialback", "peer: "+theirHeader, "we: "+ourAnswerDB, "we: "+tlsRequired,
			"peer: <db:result from='capulet.example' to='montague.example'>key</db:result>", end("policy-violation"), "failed: in the clear"),
		"compression": lines("set: role=receiving", untilTLS("receiving"), "peer: <compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>", end("unsupported-stanza-type"), "failed: not known"),
		"no version, dialback not in the clear": lines("set: role=receiving dialback", "peer: "+strings.Replace(theirHeader, " version='1.0'", "", 1),
			"we: "+strings.Replace(ourAnswerDB, " version='1.0'", "", 1), end("unsupported-version"), "failed: version"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, script)
		})
	}
}

// TestInjectedTTL08: what someone on the path writes in the clear before TLS is never taken for what came inside it (THREATS.md X9).
// "The entities MUST NOT send any further XML data until the TLS negotiation is complete" (RFC 6120 §5.4.3.1).
func TestInjectedTTL08(t *testing.T) {
	for name, extra := range map[string]string{
		"a stanza": aMessage, "white space": " ", "a header": theirAnswer, "features": theirAnswer + offersSASL, "success": success,
		"an octet": "<", "the end": "</stream:stream>", "a verdict": "<db:result xmlns:db='jabber:server:dialback' from='montague.example' to='capulet.example' type='valid'/>",
	} {
		t.Run("after proceed, "+name, func(t *testing.T) {
			t.Parallel()
			play(t, lines("set: role=initiating external", untilTLS("initiating"), "peer: "+offersTLS, "we: "+wantsTLS,
				"raw: "+proceed+extra, "gone", "failed: in the clear"))
		})
	}
	for name, extra := range map[string]string{
		"a stanza": aMessage, "white space": "\t", "a header": theirHeader, "EXTERNAL": externalAuth, "STARTTLS again": wantsTLS, "an octet": "<",
		"the end": "</stream:stream>", "a key": "<db:result xmlns:db='jabber:server:dialback' from='capulet.example' to='montague.example'>key</db:result>",
	} {
		t.Run("after starttls, "+name, func(t *testing.T) {
			t.Parallel()
			play(t, lines("set: role=receiving dialback", "peer: "+theirHeader, "we: "+ourAnswerDB, "we: "+tlsRequired,
				"raw: "+wantsTLS+extra, "we: "+streamError("policy-violation"), "we: </stream:stream>", "gone", "failed: in the clear"))
		})
	}
	// The answer before the question: nothing is lost by waiting for it in TLS, so the TLS handshake fails on the stanza.
	t.Run("proceed before starttls", func(t *testing.T) {
		play(t, lines("set: role=initiating external", "we: "+ourHeader, "raw: "+theirAnswer+offersTLS+proceed+aMessage,
			"we: "+wantsTLS, "gone", "failed: in the clear"))
	})
	// With a TLS record after it the octets in the clear do not become a part of the stream: XML in a record's place ends the handshake.
	t.Run("in the handshake", func(t *testing.T) {
		play(t, lines("set: role=receiving", untilTLS("receiving"), "peer: "+wantsTLS, "we: "+proceed, "peer: "+aMessage, "failed: TLS"))
	})
	t.Run("after auth", func(t *testing.T) {
		play(t, lines("set: role=receiving", secured("receiving"), "raw: "+externalEmpty+aMessage, "we: "+streamError("not-authorized"),
			"we: </stream:stream>", "gone", "failed: before the answer"))
	})
	t.Run("after success", func(t *testing.T) {
		play(t, lines("set: role=initiating external", secured("initiating"), "peer: "+offersSASL, "we: "+externalAuth,
			"raw: "+success+aMessage, "we: "+streamError("bad-format"), "we: </stream:stream>", "gone", "failed: <success/>"))
	})
}

// TestRestartTTL10: who the stream is of and for does not change with its restarts (THREATS.md X11).
func TestRestartTTL10(t *testing.T) {
	change := func(header, name, value string) string {
		i := strings.Index(header, " "+name+"='")
		j := i + len(" "+name+"='")
		j += strings.IndexByte(header[j:], '\'') + 1
		if value == "" {
			return header[:i] + header[j:]
		}
		return header[:i] + " " + name + "='" + value + "'" + header[j:]
	}
	r := "set: role=receiving dialback"
	toTLS := lines(r, "peer: "+theirHeader, "we: "+ourAnswerDB, "we: "+tlsRequired, "peer: "+wantsTLS, "we: "+proceed, "tls")
	features := "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>"
	toSuccess := lines(toTLS, "peer: "+theirHeader, "we: "+ourAnswerDB, "we: "+features, "peer: "+externalEmpty, "we: "+success)
	end := func(condition, text string) string {
		return lines("we: "+streamError(condition), "we: </stream:stream>", "gone", "failed: "+text)
	}
	i := "set: role=initiating external"
	for name, script := range map[string]string{
		"from after TLS":          lines(toTLS, "peer: "+change(theirHeader, "from", "evil.example"), "we: "+change(ourAnswerDB, "to", "capulet.example"), end("invalid-from", "'from'")),
		"to after TLS":            lines(toTLS, "peer: "+change(theirHeader, "to", "other.example"), "we: "+ourAnswerDB, end("host-unknown", "'to'")),
		"from gone after TLS":     lines(toTLS, "peer: "+change(theirHeader, "from", ""), "we: "+ourAnswerDB, end("invalid-from", "'from'")),
		"to gone after TLS":       lines(toTLS, "peer: "+change(theirHeader, "to", ""), "we: "+ourAnswerDB, end("host-unknown", "'to'")),
		"from after success":      lines(toSuccess, "peer: "+change(theirHeader, "from", "evil.example"), "we: "+ourAnswerDB, end("invalid-from", "'from'")),
		"to after success":        lines(toSuccess, "peer: "+change(theirHeader, "to", "other.example"), "we: "+ourAnswerDB, end("host-unknown", "'to'")),
		"from gone after success": lines(toSuccess, "peer: "+change(theirHeader, "from", ""), "we: "+ourAnswerDB, end("invalid-from", "'from'")),
		"only written otherwise": lines(toTLS, "peer: "+change(theirHeader, "from", "CAPULET.example."), "we: "+ourAnswerDB, "we: "+features,
			"peer: "+externalEmpty, "we: "+success, "peer: "+change(theirHeader, "to", "Montague.Example"), "we: "+ourAnswerDB,
			"we: <stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>", "opened: secured authenticated dialback"),
		"from first inside TLS": lines(r, "peer: "+change(theirHeader, "from", ""), "we: "+change(ourAnswerDB, "to", ""), "we: "+tlsRequired, "peer: "+wantsTLS,
			"we: "+proceed, "tls", "peer: "+theirHeader, "we: "+ourAnswerDB, "we: "+features, "peer: "+externalEmpty, "we: "+success,
			"peer: "+theirHeader, "we: "+ourAnswerDB, "we: <stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>",
			"opened: secured authenticated dialback"),
		"answered by another": lines(i, "we: "+ourHeader, "peer: "+change(theirAnswer, "from", "evil.example"), "peer: "+offersTLS,
			end("invalid-from", "'from'")),
		"answered to another": lines(i, "we: "+ourHeader, "peer: "+change(theirAnswer, "to", "evil.example"), "peer: "+offersTLS,
			end("host-unknown", "'to'")),
		"answered by another inside TLS": lines(i, untilTLS("initiating"), "peer: "+offersTLS, "we: "+wantsTLS, "peer: "+proceed, "tls", "we: "+ourHeader,
			"peer: "+change(theirAnswer, "from", "evil.example")+offersSASL, end("invalid-from", "'from'")),
		"answered by another after success": lines(i, secured("initiating"), "peer: "+offersSASL, "we: "+externalAuth, "peer: "+success, "we: "+ourHeader,
			"peer: "+change(theirAnswer, "from", "evil.example")+"<stream:features/>", end("invalid-from", "'from'")),
		"another identity": lines("set: role=receiving", secured("receiving"), "peer: "+strings.Replace(externalAuth, "Y2FwdWxldC5leGFtcGxl", "ZXZpbC5leGFtcGxl", 1),
			"we: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-authzid/></failure>", "hangs up", "failed: "),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, script)
		})
	}
}
