package cpim

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestParseSIPURI(t *testing.T) {
	type want struct {
		user, host string
		port       int
		secure, ip bool
		params     string // as name=value, joined by spaces
		headers    bool
	}
	tests := []struct {
		name, in string
		want     want
	}{
		// RFC 3261 §19.1.3
		{"plain", "sip:alice@atlanta.com", want{user: "alice", host: "atlanta.com"}},
		{"password and transport", "sip:alice:secretword@atlanta.com;transport=tcp", want{user: "alice", host: "atlanta.com", params: "transport=tcp"}},
		{"headers", "sips:alice@atlanta.com?subject=project%20x&priority=urgent", want{user: "alice", host: "atlanta.com", secure: true, headers: true}},
		{"telephone number", "sip:+1-212-555-1212:1234@gateway.com;user=phone", want{user: "+1-212-555-1212", host: "gateway.com", params: "user=phone"}},
		{"digits", "sips:1212@gateway.com", want{user: "1212", host: "gateway.com", secure: true}},
		{"IPv4", "sip:alice@192.0.2.4", want{user: "alice", host: "192.0.2.4", ip: true}},
		{"method, no user", "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com", want{host: "atlanta.com", params: "method=REGISTER", headers: true}},
		{"semicolon in the user part", "sip:alice;day=tuesday@atlanta.com", want{user: "alice;day=tuesday", host: "atlanta.com"}},
		// RFC 4475 §3.1.1.2, §3.1.1.3, §3.1.1.13
		{"escapes", "sip:sips%3Auser%40example.com@example.net", want{user: "sips:user@example.com", host: "example.net"}},
		{
			"wide range of characters", "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
			want{user: "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*", host: "example.com"},
		},
		{"semicolons and question marks", "sip:user;par=u%40example.net@example.com", want{user: "user;par=u@example.net", host: "example.com"}},
		{"IPv6", "sip:user@[2001:DB8::10]:5070", want{user: "user", host: "2001:db8::10", port: 5070, ip: true}},
		{"IPv4 in IPv6", "sip:[::ffff:192.0.2.1]", want{host: "::ffff:192.0.2.1", ip: true}},
		{"capitals", "SIP:Alice@EXAMPLE.com;GR=Abc", want{user: "Alice", host: "example.com", params: "gr=Abc"}},
		{"trailing dot", "sip:a@example.com.", want{user: "a", host: "example.com."}},
		{"single label", "sip:a@pbx", want{user: "a", host: "pbx"}},
		{"utf-8", "sip:f%C3%BC@sip.example", want{user: "fü", host: "sip.example"}},
		{"parameter without value", "sip:proxy.example.com;lr", want{host: "proxy.example.com", params: "lr="}},
		{"encoded parameter", "sip:a@b.c;gr=urn:uuid:f81d%3Bx", want{user: "a", host: "b.c", params: "gr=urn:uuid:f81d;x"}},
		{"port", "sip:a@b.c:65535", want{user: "a", host: "b.c", port: 65535}},
		{"empty header value", "sip:a@b.c?x=", want{user: "a", host: "b.c", headers: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := ParseSIPURI(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			var params []string
			for _, p := range u.Params() {
				params = append(params, p.Name+"="+p.Value)
				if v, ok := u.Param(strings.ToUpper(p.Name)); !ok || v != p.Value {
					t.Errorf("Param(%s) = %q, %v", p.Name, v, ok)
				}
			}
			got := want{u.User(), u.Host(), u.Port(), u.Secure(), u.HostIsIP(), strings.Join(params, " "), u.HasHeaders()}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if u.String() != tt.in {
				t.Errorf("prints %s", u)
			}
		})
	}
}

func TestParseSIPURIRefuses(t *testing.T) {
	tests := []struct {
		name, in, rule string
		offset         int
	}{
		{"empty", "", "sip-scheme", 0},
		{"other scheme", "tel:+1", "sip-scheme", 0},
		{"no host", "sip:", "sip-host", 4},
		{"no host after user", "sip:a@", "sip-host", 6},
		{"empty user", "sip:@b.c", "sip-user", 4},
		{"empty user with password", "sip::pw@b.c", "sip-user", 4},
		{"two at signs", "sip:a@b@c.d", "sip-end", 7},
		{"space", "sip:a b@c.d", "sip-user", 5},
		{"quote", `sip:"a"@c.d`, "sip-user", 4},
		{"hash", "sip:a#b@c.d", "sip-user", 5},
		{"backslash", `sip:a\b@c.d`, "sip-user", 5},
		{"raw utf-8", "sip:ü@c.d", "sip-user", 4},
		{"cut escape", "sip:a%4@c.d", "percent-encoding", 5},
		{"NUL", "sip:a%00@c.d", "control-character", 5},
		{"CR LF", "sip:a%0d%0aX:%20y@c.d", "control-character", 5},
		{"DEL", "sip:a%7f@c.d", "control-character", 5},
		{"latin-1", "sip:a%fc@c.d", "utf-8", 5},
		{"NUL in password", "sip:a:%00@c.d", "control-character", 6},
		{"slash in password", "sip:a:b/c@c.d", "sip-password", 7},
		{"NUL in parameter", "sip:a@c.d;gr=%00", "control-character", 13},
		{"CR in parameter name", "sip:a@c.d;a%0d=b", "control-character", 11},
		{"LF in header", "sip:a@c.d?x=%0a", "control-character", 12},
		{"underscore in host", "sip:a@b_c.d", "sip-end", 7},
		{"all digits", "sip:a@1234", "sip-host", 6},
		{"toplabel begins with a digit", "sip:a@b.1c", "sip-host", 8},
		{"IPv4 out of range", "sip:a@256.1.1.1", "sip-host", 14},
		{"IPv6 without brackets", "sip:a@2001:db8::1", "sip-host", 6},
		{"open bracket", "sip:a@[::1", "sip-host", 10},
		{"zone", "sip:a@[fe80::1%25eth0]", "sip-host", 7},
		{"IPv4 in brackets", "sip:a@[192.0.2.1]", "sip-host", 7},
		{"empty port", "sip:a@b.c:", "sip-port", 10},
		{"port 0", "sip:a@b.c:0", "sip-port", 10},
		{"port 65536", "sip:a@b.c:65536", "sip-port", 10},
		{"port 2^32+5060", "sip:a@b.c:4294972356", "sip-port", 10},
		{"port not a number", "sip:a@b.c:5x", "sip-end", 11},
		{"empty parameter", "sip:a@b.c;", "sip-parameter", 10},
		{"empty value", "sip:a@b.c;x=", "sip-parameter", 12},
		{"parameter twice", "sip:a@b.c;x=1;X=2", "sip-parameter-once", 14},
		{"comma in parameter", "sip:a@b.c;x=1,2", "sip-end", 13},
		{"headers without value", "sip:a@b.c?x", "sip-header", 11},
		{"empty headers", "sip:a@b.c?", "sip-header", 10},
		{"angle bracket", "sip:a@b.c>", "sip-end", 9},
		{"CR LF after", "sip:a@b.c\r\nX: y", "sip-end", 9},
		{"too many parameters", "sip:a@b.c" + manyParams(65), "sip-parameter", 9 + 64*3 + 54},
		{"too long", "sip:" + strings.Repeat("a", 9000) + "@b.c", "sip-length", 8192},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := ParseSIPURI(tt.in)
			var serr *SyntaxError
			if !errors.As(err, &serr) {
				t.Fatalf("accepted as %v", u)
			}
			if serr.Rule != tt.rule || serr.Offset != tt.offset || !u.IsZero() {
				t.Errorf("got %v, want %s at %d", serr, tt.rule, tt.offset)
			}
		})
	}
}

// manyParams returns n parameters ";p0" to ";p<n-1>".
func manyParams(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(";p")
		if i >= 10 {
			b.WriteByte(byte('0' + i/10))
		}
		b.WriteByte(byte('0' + i%10))
	}
	return b.String()
}

// The tables of RFC 7247 §6.4 and §6.5 with im: in place of the JID.
func TestRFC7247Examples(t *testing.T) {
	for _, tt := range []struct{ sip, im, instance string }{
		{"sip:f%C3%BC@sip.example", "im:f%C3%BC@sip.example", ""},
		{"sip:o'malley@sip.example", "im:o'malley@sip.example", ""},
		{"sip:foo@sip.example;gr=bar", "im:foo@sip.example", "bar"},
		{"sip:m&m@xmpp.example", "im:m&m@xmpp.example", ""},
		{"sip:tsch%C3%BCss@xmpp.example", "im:tsch%C3%BCss@xmpp.example", ""},
		{"sip:baz@xmpp.example;gr=qux", "im:baz@xmpp.example", "qux"},
	} {
		id, err := AddressFromSIPURI(MustParseSIPURI(tt.sip), IM)
		if err != nil || id.Address.String() != tt.im || id.Instance.String() != tt.instance || id.Secure || id.Temporary {
			t.Errorf("%s: %+v, %v", tt.sip, id, err)
		}
		if back := id.Address.SIPURI().WithInstance(id.Instance); back.String() != tt.sip {
			t.Errorf("%s: back %s", tt.sip, back)
		}
	}
}

func TestSIPMapping(t *testing.T) {
	tests := []struct {
		name, in string
		mapping  SIPMapping
		want     string // an address, or "!" and a rule
	}{
		{"strict", "sip:alice@example.com", SIPMapping{}, "im:alice@example.com"},
		{"pres", "sip:alice@example.com", SIPMapping{Scheme: Pres}, "pres:alice@example.com"},
		{"no user", "sip:example.com", SIPMapping{}, "!sip-user"},
		{"password", "sip:alice:x@example.com", SIPMapping{}, "!sip-password"},
		{"empty password", "sip:alice:@example.com", SIPMapping{}, "!sip-password"},
		{"headers", "sip:alice@example.com?a=b", SIPMapping{}, "!sip-header"},
		{"IPv4", "sip:alice@192.0.2.1", SIPMapping{}, "!domain-literal"},
		{"IPv6", "sip:alice@[::1]", SIPMapping{}, "!domain-literal"},
		{"port", "sip:alice@example.com:5060", SIPMapping{}, "!sip-port"},
		{"port ignored", "sip:alice@example.com:5060", SIPMapping{IgnorePort: true}, "im:alice@example.com"},
		{"capitals", "sip:Alice@example.com", SIPMapping{}, "!local-case"},
		{"capitals folded", "sip:Alice@example.com", SIPMapping{FoldCase: true}, "im:alice@example.com"},
		{"encoded plus", "sip:%2B12015550123@example.com", SIPMapping{}, "!sip-reserved"},
		{"encoded plus decoded", "sip:%2B12015550123@example.com", SIPMapping{DecodeReserved: true}, "im:+12015550123@example.com"},
		{"encoded semicolon", "sip:a%3Bb@example.com", SIPMapping{}, "!sip-reserved"},
		{"encoded at sign", "sip:alice%40bank.example@example.com", SIPMapping{}, "im:alice%40bank.example@example.com"},
		{"backslash", "sip:o%5C27malley@example.com", SIPMapping{}, "im:o%5C27malley@example.com"},
		{"angle bracket injection", "sip:%22%3E%3Ca@example.com", SIPMapping{}, "im:%22%3E%3Ca@example.com"},
		{"trailing dot", "sip:a@example.com.", SIPMapping{}, "im:a@example.com"},
		{"other parameters", "sip:a@example.com;transport=tls;lr", SIPMapping{}, "im:a@example.com"},
		{"phone", "sip:+1-201-555-0123@example.com;user=phone", SIPMapping{}, "im:+12015550123@example.com"},
		{"not marked as phone", "sip:+1-201-555-0123@example.com", SIPMapping{}, "im:+1-201-555-0123@example.com"},
		{"phone with extension", "sip:+1-201-555-0123;ext=0-7@example.com;user=phone", SIPMapping{}, "im:+12015550123%3Bext=07@example.com"},
		{"local phone", "sip:863-1234;phone-context=+1-914-555@example.com;user=phone", SIPMapping{}, "im:8631234%3Bphone-context=+1914555@example.com"},
		{"phone without context", "sip:1000@example.com;user=phone", SIPMapping{}, "!tel-context"},
		{"phone without context allowed", "sip:10-00@example.com;user=phone", SIPMapping{LocalNumbers: true}, "im:1000@example.com"},
		{"no phone", "sip:alice@example.com;user=phone", SIPMapping{}, "!tel-number"},
		{"bad instance", "sip:a@example.com;gr=%E2%80%A8", SIPMapping{}, "!instance-precis"},
		{"zero", "", SIPMapping{}, "!sip-scheme"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var u SIPURI
			if tt.in != "" {
				u = MustParseSIPURI(tt.in)
			}
			id, err := tt.mapping.Address(u)
			got := id.Address.String()
			var serr *SyntaxError
			if errors.As(err, &serr) {
				got = "!" + serr.Rule
				if serr.Offset < 0 || serr.Offset > len(tt.in) {
					t.Errorf("offset %d", serr.Offset)
				}
			}
			if got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

// "a sips URI is never silently downgraded": RFC 7247 §8 lets no gateway
// translate one without knowing.
func TestSIPSIsReported(t *testing.T) {
	id, err := AddressFromSIPURI(MustParseSIPURI("sips:alice@example.com;gr=x"), IM)
	if err != nil || !id.Secure || id.Instance.String() != "x" {
		t.Fatalf("%+v, %v", id, err)
	}
	if u := id.Address.SIPSURI().WithInstance(id.Instance); u.String() != "sips:alice@example.com;gr=x" || !u.Secure() {
		t.Errorf("%s", u)
	}
	id, err = AddressFromSIPURI(MustParseSIPURI("sip:tgruu.7hs==jd7vnzga5w7fajsc7-ajd6fabz0f8g5@example.com;gr"), IM)
	if err != nil || !id.Temporary || !id.Instance.IsZero() {
		t.Errorf("temporary GRUU: %+v, %v", id, err)
	}
}

func TestInstances(t *testing.T) {
	a := MustParseAddress("im:romeo@example.net")
	for _, s := range []string{"bar", "dr4hcr0st3lup4c", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "Äther ♥ @/;?=&\"<>", "a b", "日本"} {
		i, err := NewInstance(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		u := a.SIPURI().WithInstance(i)
		if _, err := ParseSIPURI(u.String()); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		id, err := AddressFromSIPURI(u, IM)
		if err != nil || id.Instance != i || id.Address != a {
			t.Errorf("%q: by %s %+v, %v", s, u, id, err)
		}
	}
	for _, s := range []string{"", "a\x00", "a\r\nb", "\xff", strings.Repeat("a", 1024), "u\u0308", "a\u00a0b"} {
		if i, err := NewInstance(s); err == nil {
			t.Errorf("%q accepted as %q", s, i)
		}
	}
	// COMPAT(SylkServer, 5)
	if i, ok := InstanceFromHex("42616c636f6e79"); !ok || i.String() != "Balcony" {
		t.Errorf("%q, %v", i, ok)
	}
	for _, s := range []string{"bar", "0d0a", "ff", "abc", ""} {
		if i, ok := InstanceFromHex(s); ok {
			t.Errorf("%q accepted as %q", s, i)
		}
	}
	u := MustParseSIPURI("sip:a@b.c;gr=x?h=v")
	if !u.WithParam("gr", "y").IsZero() || !u.WithParam("", "").IsZero() || !u.WithParam("x", "\n").IsZero() {
		t.Error("a parameter twice, or one that cannot be")
	}
	if v := u.WithParam("lr", ""); v.String() != "sip:a@b.c;gr=x;lr?h=v" {
		t.Errorf("%s", v)
	}
}

// T-ID-05, exhaustively: every local part of two ASCII characters, and every
// single one, maps to a SIP URI that maps back to it and to nothing else.
func TestBijectionTwoCharacters(t *testing.T) {
	seen := map[string]string{}
	try := func(local string) {
		a, err := NewAddress(IM, local, "example.net")
		if err != nil {
			return
		}
		u := a.SIPURI()
		if old, ok := seen[u.String()]; ok {
			t.Fatalf("%q and %q are both %s", old, local, u)
		}
		seen[u.String()] = local
		parsed, err := ParseSIPURI(u.String())
		if err != nil || parsed != u {
			t.Fatalf("%q: %s reads back as %#v, %v", local, u, parsed, err)
		}
		id, err := AddressFromSIPURI(parsed, IM)
		if err != nil || id.Address != a {
			t.Fatalf("%q: back %v, %v", local, id.Address, err)
		}
		if b, err := ParseAddress(a.String()); err != nil || a != b {
			t.Fatalf("%q: %s is %v, %v", local, a, b, err)
		}
	}
	for i := range 128 {
		try(string(rune(i)))
		for j := range 128 {
			try(string(rune(i)) + string(rune(j)))
		}
	}
	// 95 printable characters without capitals are 69; no space at either end.
	if want := 68 + 68*68; len(seen) != want {
		t.Errorf("%d local parts, want %d", len(seen), want)
	}
}

// T-ID-05, the other way: every user part of two characters or escapes either
// is refused or is written back so that it is the same URI.
func TestBijectionTwoEscapes(t *testing.T) {
	seen := map[string]string{}
	for i := range 256 {
		for j := range 256 {
			raw := "sip:" + string(appendPercent(appendPercent(nil, byte(i), sipUnreserved(byte(i))), byte(j), sipUnreserved(byte(j)))) + "@example.net"
			u, err := ParseSIPURI(raw)
			if err != nil {
				continue
			}
			id, err := AddressFromSIPURI(u, IM)
			if err != nil {
				continue
			}
			if back := id.Address.SIPURI(); back.String() != raw {
				t.Fatalf("%s comes back as %s", raw, back)
			}
			key := id.Address.String()
			if old, ok := seen[key]; ok {
				t.Fatalf("%s and %s are both %s", old, raw, key)
			}
			seen[key] = raw
		}
	}
	if len(seen) < 2000 {
		t.Errorf("only %d", len(seen))
	}
}

// T-ID-05, at random: what maps comes back, and two addresses never map to one
// URI.
func TestBijectionProperty(t *testing.T) {
	local := rapid.OneOf(
		rapid.StringMatching(`[a-z0-9 "&'/:<>@\\%;=?#.,+\x{00e0}-\x{00ff}]{1,12}`),
		rapid.StringMatching(`(\\(20|22|26|27|2f|3a|3c|3e|40|5c|5C|)|[a-f0-9])+`),
		rapid.StringN(1, 20, -1),
	)
	rapid.Check(t, func(t *rapid.T) {
		l1, l2 := local.Draw(t, "a"), local.Draw(t, "b")
		a, err1 := NewAddress(IM, l1, "example.net")
		b, err2 := NewAddress(IM, l2, "example.net")
		if err1 == nil {
			id, err := AddressFromSIPURI(a.SIPURI(), IM)
			if err != nil || id.Address != a {
				t.Fatalf("%q: %v, %v", l1, id.Address, err)
			}
			// The form that an XMPP localpart will have is one to one too.
			n, _ := escapedLength(l1)
			if e := escapeLocal(l1, n); unescapeLocal(e) != l1 {
				t.Fatalf("%q escapes to %q", l1, e)
			}
		}
		if err1 == nil && err2 == nil && a != b && (a.SIPURI() == b.SIPURI() || a.String() == b.String()) {
			t.Fatalf("%q and %q collide", l1, l2)
		}
	})
}

// T-FZ-03: what parses prints, and parses to the same.
func FuzzParseSIPURI(f *testing.F) {
	for _, s := range []string{
		"sip:alice@atlanta.com", "sips:a:b@[::1]:5061;transport=tcp;lr?x=y&z=", "sip:+1-2;ext=3@h.i;user=phone", "sip:%41%2B@b.c;gr=%C3%BC",
		"sip:user;par=u%40example.net@example.com", "sip:a@b.c;gr", "sip:A@B.C.",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseSIPURI(s)
		if err != nil {
			checkSyntaxError(t, err, len(s))
			return
		}
		if u.String() != s {
			t.Fatalf("prints %q", u)
		}
		texts := []string{u.User(), u.Host()}
		for _, p := range u.Params() {
			texts = append(texts, p.Name, p.Value)
		}
		for _, x := range texts {
			if strings.ContainsFunc(x, func(r rune) bool { return r < 0x20 || r == 0x7f }) || !utf8.ValidString(x) {
				t.Fatalf("control character or bad UTF-8 in %q", x)
			}
		}
		for _, m := range []SIPMapping{{}, {FoldCase: true, IgnorePort: true, DecodeReserved: true, LocalNumbers: true}} {
			id, err := m.Address(u)
			if err != nil {
				checkSyntaxError(t, err, len(s))
				continue
			}
			back := id.Address.SIPURI().WithInstance(id.Instance)
			again, err := AddressFromSIPURI(back, IM)
			if err != nil || again.Address != id.Address || again.Instance != id.Instance {
				t.Fatalf("%s: %v, back by %s is %v, %v", s, id, back, again, err)
			}
		}
	})
}

func BenchmarkParseSIPURI(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseSIPURI("sip:romeo@example.net;gr=dr4hcr0st3lup4c"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddressFromSIPURI(b *testing.B) {
	u := MustParseSIPURI("sip:romeo@example.net;gr=dr4hcr0st3lup4c")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AddressFromSIPURI(u, IM); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddressSIPURI(b *testing.B) {
	a := MustParseAddress("im:romeo@example.net")
	b.ReportAllocs()
	for b.Loop() {
		_ = a.SIPURI()
	}
}
