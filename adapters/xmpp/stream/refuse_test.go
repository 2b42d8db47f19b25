package stream_test

import (
	"strings"
	"testing"
)

// TestHeaderRefused: every header that is refused, by a server that has said nothing yet. "If the error is triggered by the initial stream
// header, the receiving entity MUST still send the opening <stream> tag, include the <error/> element as a child of the stream element,
// and send the closing </stream> tag" (RFC 6120 §4.9.1.2).
func TestHeaderRefused(t *testing.T) {
	with := func(old, now string) string { return strings.Replace(theirHeader, old, now, 1) }
	full, anonymous := ourAnswer, strings.Replace(strings.Replace(ourAnswer, " to='capulet.example'", "", 1), "montague.example", "", 1)
	nobody := strings.Replace(ourAnswer, "montague.example", "", 1)
	for _, c := range []struct{ name, header, answer, condition string }{
		{"stream namespace", with("http://etherx.jabber.org/streams", "http://wrong.namespace.example.org/"), anonymous, "invalid-namespace"},
		{"no stream at all", "<html>", anonymous, "invalid-namespace"},
		{"GET / HTTP/1.1", "GET / HTTP/1.1", anonymous, "not-well-formed"},
		{"X3: document type", "<!DOCTYPE x [<!ENTITY y 'z'>]>", anonymous, "restricted-xml"},
		{"X3: instruction", "<?xml-stylesheet href='x'?>" + theirHeader, anonymous, "restricted-xml"},
		{"X3: comment", "<!-- -->" + theirHeader, anonymous, "restricted-xml"},
		{"X15: UTF-16", "\ufeff" + theirHeader, anonymous, "not-well-formed"},
		{"X15: NUL", "<stream\x00:stream>", anonymous, "not-well-formed"},
		{"X15: another encoding", "<?xml version='1.0' encoding='ISO-8859-1'?>" + theirHeader, anonymous, "unsupported-encoding"},
		{"X1: the same attribute twice", with(" to='", " to='other.example' to='"), anonymous, "not-well-formed"},
		{"X1: unbound prefix", with(" to='", " x:y='z' to='"), anonymous, "not-well-formed"},
		{"X15: bad UTF-8", with("capulet", "\xff"), anonymous, "unsupported-encoding"},
		{"X4: long header", with("capulet", strings.Repeat("x", 20<<10)), anonymous, "policy-violation"},
		{"X4: many attributes", with(" to='", strings.Repeat(" ", 200)+manyAttributes(100)+" to='"), anonymous, "policy-violation"},
		{"element name", strings.Replace(theirHeader, "stream:stream", "stream:steam", 1), anonymous, "bad-format"},
		{"of clients", with("jabber:server'", "jabber:client'"), anonymous, "invalid-namespace"},
		{"of components", with("jabber:server'", "jabber:component:accept'"), anonymous, "invalid-namespace"},
		{"version 11.0", with("version='1.0'", "version='11.0'"), anonymous, "unsupported-version"},
		{"version of letters", with("version='1.0'", "version='one'"), anonymous, "unsupported-version"},
		{"no version", with(" version='1.0'", ""), strings.Replace(full, " version='1.0'", "", 1), "unsupported-version"},
		{"another host", with("montague.example", "verona.example"), nobody, "host-unknown"},
		{"no host", with(" to='montague.example'", ""), nobody, "host-unknown"},
		{"empty host", with("montague.example", ""), nobody, "host-unknown"},
		{"user for a host", with("montague.example", "juliet@montague.example"), anonymous, "host-unknown"},
		{"from a user", with("capulet.example", "romeo@capulet.example"), anonymous, "invalid-from"},
		{"from nothing that is a domain", with("capulet.example", "-..-"), anonymous, "invalid-from"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			play(t, lines("set: role=receiving", "raw: "+c.header, "we: "+c.answer, "we: "+streamError(c.condition), "we: </stream:stream>", "gone", "failed:"))
		})
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" a" + strings.Repeat("b", i) + "='c'")
	}
	return b.String()
}

// TestHeaderTaken: headers that are written otherwise and mean the same.
func TestHeaderTaken(t *testing.T) {
	for name, header := range map[string]string{
		"declaration":       "<?xml version='1.0' encoding='UTF-8'?>\n" + theirHeader,
		"another prefix":    strings.ReplaceAll(strings.ReplaceAll(theirHeader, "stream:stream", "s:stream"), "xmlns:stream", "xmlns:s"),
		"prefix-free":       "<stream xmlns='http://etherx.jabber.org/streams' from='capulet.example' to='montague.example' version='1.0'>",
		"later minor":       strings.Replace(theirHeader, "1.0", "1.17", 1),
		"leading zeros":     strings.Replace(theirHeader, "1.0", "01.00", 1),
		"an id is ignored":  strings.Replace(theirHeader, "version", "id='"+strings.Repeat("x", 2000)+"' version", 1),
		"a language":        strings.Replace(theirHeader, "version", "xml:lang='de-CH' version", 1),
		"upper case domain": strings.Replace(theirHeader, "montague.example", "MONTAGUE.example", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, lines("set: role=receiving", "peer: "+header, "we: "+ourAnswer, "we: "+tlsRequired, "hangs up", "failed:"))
		})
	}
}

// TestElementRefused: elements of a peer that is not authenticated, each with the stream error of RFC 6120 §4.9.3.
func TestElementRefused(t *testing.T) {
	for _, c := range []struct{ name, element, condition, rule string }{
		{"message", aMessage, "not-authorized", "a stanza before authentication"},
		{"presence", "<presence/>", "not-authorized", "a stanza before authentication"},
		{"iq", "<iq type='get' id='1'/>", "not-authorized", "a stanza before authentication"},
		{"stanza of clients", "<message xmlns='jabber:client'/>", "invalid-namespace", "of clients"},
		{"no stanza", "<pubsub/>", "unsupported-stanza-type", "not known"},
		{"another namespace", "<message xmlns='http://example.org/ns2'/>", "unsupported-stanza-type", "not known"},
		{"features", "<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>", "unsupported-stanza-type", "not known"},
		{"dialback", "<db:result from='capulet.example' to='montague.example' xmlns:db='jabber:server:dialback'>k</db:result>", "policy-violation", "dialback is not allowed"},
		{"bidi", "<bidi xmlns='urn:xmpp:bidi'/>", "unsupported-stanza-type", "bidirectional"},
		{"not well-formed", "<message></iq>", "not-well-formed", "tag-mismatch"},
		{"X1: unbound prefix", "<foo:message/>", "not-well-formed", ""},
		{"X1: text", "hello", "not-well-formed", ""},
		{"X3: comment", "<!-- -->", "restricted-xml", ""},
		{"X3: entity", "<auth>&x;</auth>", "restricted-xml", ""},
		{"X3: entity inside", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>&lol;</auth>", "restricted-xml", ""},
		{"X4: large", "<message>" + strings.Repeat("x", 20<<10), "policy-violation", ""},
		{"X4: deep", strings.Repeat("<a>", 40), "policy-violation", ""},
		{"X4: many small ones", strings.Repeat("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", 2), "", ""},
		{"X4: white space", strings.Repeat(" ", 20<<10), "policy-violation", "more octets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.condition == "" {
				failure := "we: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/></failure>"
				play(t, lines("set: role=receiving", secured("receiving"), "raw: "+c.element, failure, failure, "hangs up", "failed:"))
				return
			}
			play(t, lines("set: role=receiving", secured("receiving"), "raw: "+c.element, "we: "+streamError(c.condition), "we: </stream:stream>", "gone", "failed: "+c.rule))
		})
	}
	t.Run("a stream error", func(t *testing.T) {
		play(t, lines("set: role=receiving", secured("receiving"), "peer: "+strings.Replace(streamError("system-shutdown"), "<stream:error", "<stream:error xmlns:stream='http://etherx.jabber.org/streams'", 1)+"</stream:stream>",
			"we: </stream:stream>", "gone", "failed: stream error system-shutdown from the peer"))
	})
	t.Run("the end", func(t *testing.T) {
		play(t, lines("set: role=receiving", secured("receiving"), "peer: </stream:stream>", "we: </stream:stream>", "gone", "failed: the peer closed the stream"))
	})
	// "if according to local service policies weak identity verification is insufficient then the receiving entity SHOULD instead close
	// the stream with a <policy-violation/> stream error" (RFC 6120 §6.4.5).
	for _, certificate := range []string{"none", "other"} {
		t.Run("certificate: "+certificate, func(t *testing.T) {
			play(t, lines("set: role=receiving direct certificate="+certificate, "tls", "peer: "+theirHeader, "we: "+ourAnswer,
				"we: "+streamError("policy-violation"), "we: </stream:stream>", "gone", "failed: does not prove"))
		})
	}
	t.Run("TLS wanted, not configured", func(t *testing.T) {
		play(t, lines("set: role=receiving host-notls", "peer: "+theirHeader, "we: "+ourAnswer, "we: "+streamError("internal-server-error"),
			"we: </stream:stream>", "gone", "failed: not configured"))
	})
	t.Run("malformed STARTTLS", func(t *testing.T) {
		play(t, lines("set: role=receiving", untilTLS("receiving"), "peer: <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>now</starttls>",
			"we: <failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "we: </stream:stream>", "gone", "failed: malformed"))
	})
}

// TestExternalRefused: each SASL error that a receiving entity of EXTERNAL has (RFC 6120 §6.5), and that the peer may go on after it.
func TestExternalRefused(t *testing.T) {
	auth := func(text string) string {
		return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>" + text + "</auth>"
	}
	for _, c := range []struct{ name, element, condition string }{
		{"another mechanism", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>", "invalid-mechanism"},
		{"no mechanism", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</auth>", "invalid-mechanism"},
		{"mechanism in small letters", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='external'>=</auth>", "invalid-mechanism"},
		{"no base 64", auth("capulet.example"), "incorrect-encoding"},
		{"no padding", auth("ZXZpbA"), "incorrect-encoding"},
		{"padding bits", auth("ZXZpbB=="), "incorrect-encoding"},
		{"line break", auth("Y2FwdWxldC5l&#10;eGFtcGxl"), "incorrect-encoding"},
		{"white space", auth(" Y2FwdWxldC5leGFtcGxl"), "incorrect-encoding"},
		{"two equals signs", auth("=="), "incorrect-encoding"},
		{"another domain", auth("ZXZpbC5leGFtcGxl"), "invalid-authzid"},
		{"a user", auth("cm9tZW9AY2FwdWxldC5leGFtcGxl"), "invalid-authzid"},
		{"no UTF-8", auth("//8="), "invalid-authzid"},
		{"an element", auth("<x/>"), "malformed-request"},
		{"abort", "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "aborted"},
		{"a response without a challenge", "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>", "malformed-request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			failure := "we: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><" + c.condition + "/></failure>"
			play(t, lines("set: role=receiving", secured("receiving"), "peer: "+c.element, failure, "peer: "+externalAuth, "we: "+success,
				"peer: "+theirHeader, "we: "+ourAnswer, "we: <stream:features/>", "opened: secured authenticated dialback"))
			// "If the initiating entity exceeds the number of retries, the receiving entity MUST close the stream with a stream error, which
			// SHOULD be <policy-violation/>" (RFC 6120 §6.4.5).
			again := lines("peer: "+c.element, failure)
			play(t, lines("set: role=receiving", secured("receiving"), again, again, again, "peer: "+c.element, "we: "+streamError("policy-violation"),
				"we: </stream:stream>", "gone", "failed: too many attempts"))
		})
	}
	challenge := "we: <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	// "If the initiating entity subsequently sends another <auth/> element and the ongoing authentication handshake has not yet completed,
	// the receiving entity MUST discard the ongoing handshake" (RFC 6120 §6.4.2).
	t.Run("a new start", func(t *testing.T) {
		play(t, lines("set: role=receiving", secured("receiving"), "peer: "+auth(""), challenge,
			"peer: <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", "we: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/></failure>",
			"peer: <response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "we: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><malformed-request/></failure>",
			"hangs up", "failed:"))
	})
	t.Run("abort after a challenge", func(t *testing.T) {
		play(t, lines("set: role=receiving", secured("receiving"), "peer: "+auth(""), challenge,
			"peer: <abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "we: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/></failure>",
			"hangs up", "failed:"))
	})
}

// TestAnswerRefused: what an initiating entity does not take for an answer.
func TestAnswerRefused(t *testing.T) {
	end := func(condition, text string) string {
		return lines("we: "+streamError(condition), "we: </stream:stream>", "gone", "failed: "+text)
	}
	start := "set: role=initiating external direct\ntls\nwe: " + ourHeader
	for name, script := range map[string]string{
		"no id":             lines(start, "peer: "+strings.Replace(theirAnswer, " id='1'", "", 1)+offersSASL, end("bad-format", "without an id")),
		"a long id":         lines(start, "peer: "+strings.Replace(theirAnswer, "id='1", "id='"+strings.Repeat("1", 1025), 1)+offersSASL, end("bad-format", "without an id")),
		"no features":       lines(start, "peer: "+theirAnswer+aMessage, end("bad-format", "no features")),
		"SASL at once":      lines(start, "peer: "+theirAnswer+success, end("bad-format", "no features")),
		"version 2.0":       lines(start, "peer: "+strings.Replace(theirAnswer, "1.0", "2.0", 1), end("unsupported-version", "version")),
		"no version in TLS": lines(start, "peer: "+strings.Replace(theirAnswer, " version='1.0'", "", 1), end("unsupported-version", "version")),
		"of clients":        lines(start, "peer: "+strings.Replace(theirAnswer, "jabber:server'", "jabber:client'", 1), end("invalid-namespace", "content namespace")),
		// "The receiving entity has advertised a mandatory-to-negotiate stream feature that the initiating entity does not support, and has
		// offered no other mandatory-to-negotiate feature alongside the unsupported feature." (RFC 6120 §4.9.3.23)
		"a feature that must be": lines(start, "peer: "+theirAnswer+"<stream:features><example xmlns='urn:xmpp:example'><required/></example></stream:features>", end("unsupported-feature", "must be negotiated")),
		"the same after success": lines(start, "peer: "+theirAnswer+offersSASL, "we: "+externalAuth, "peer: "+success, "we: "+ourHeader,
			"peer: "+theirAnswer+"<stream:features><example xmlns='urn:xmpp:example'><required/></example></stream:features>", end("unsupported-feature", "must be negotiated")),
		"the same beside EXTERNAL": lines(start, "peer: "+theirAnswer+strings.Replace(offersSASL, "<mechanisms", "<example xmlns='urn:xmpp:example'><required/></example><mechanisms", 1), "we: "+externalAuth, "peer: "+success,
			"we: "+ourHeader, "peer: "+theirAnswer+"<stream:features/>", "opened: secured authenticated"),
		"STARTTLS that must be, without TLS": lines("set: role=initiating notls cleartext", "we: "+ourHeader, "peer: "+theirAnswer+tlsRequired, end("unsupported-feature", "must be negotiated")),
		"a stream error": lines(start, "peer: "+strings.Replace(theirAnswer, "montague.example", "other.example", 1)+streamError("host-unknown")+"</stream:stream>",
			"we: </stream:stream>", "gone", "failed: stream error host-unknown from the peer"),
		"challenged twice": lines(start, "peer: "+theirAnswer+offersSASL, "we: "+externalAuth, "peer: <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
			"we: <response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Y2FwdWxldC5leGFtcGxl</response>", "peer: <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", end("bad-format", "no answer to an authentication")),
		"a stanza for an answer":        lines(start, "peer: "+theirAnswer+offersSASL, "we: "+externalAuth, "peer: "+aMessage, end("bad-format", "no answer to an authentication")),
		"success of another protocol":   lines(start, "peer: "+theirAnswer+offersSASL, "we: "+externalAuth, "peer: <success xmlns='urn:xmpp:sasl:2'/>", end("bad-format", "no answer to an authentication")),
		"success before it was asked":   lines(start, "raw: "+theirAnswer+offersSASL+success+theirAnswer+"<stream:features/>", "we: "+externalAuth, end("bad-format", "<success/>")),
		"the end instead of an answer":  lines(start, "peer: "+theirAnswer+offersSASL, "we: "+externalAuth, "peer: </stream:stream>", "we: </stream:stream>", "gone", "failed: closed"),
		"gone instead of an answer":     lines(start, "peer: "+theirAnswer+offersSASL, "we: "+externalAuth, "hangs up", "failed: EOF"),
		"X4: endless features":          lines(start, "raw: "+theirAnswer+"<stream:features>"+strings.Repeat("<x xmlns='urn:x'/>", 2000), end("policy-violation", "")),
		"refused, and dialback instead": lines(start, "peer: "+theirAnswer+offersSASL, "we: "+externalAuth, "peer: <failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><temporary-auth-failure/><text xml:lang='en'>later</text></failure>", "opened: secured refused=temporary-auth-failure"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, script)
		})
	}
}
