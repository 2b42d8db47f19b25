package jid_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// TestLegalJIDs is Table 1 of RFC 7622 §3.5.
func TestLegalJIDs(t *testing.T) {
	for _, c := range []struct{ name, in, want, local, domain, resource string }{
		{"1 bare", "juliet@example.com", "", "juliet", "example.com", ""},
		{"2 full", "juliet@example.com/foo", "", "juliet", "example.com", "foo"},
		{"3 space in resourcepart", "juliet@example.com/foo bar", "", "juliet", "example.com", "foo bar"},
		{"4 at sign in resourcepart", "juliet@example.com/foo@bar", "", "juliet", "example.com", "foo@bar"},
		{"5 escaped space", `foo\20bar@example.com`, "", `foo\20bar`, "example.com", ""},
		{"6 bare", "fussball@example.com", "", "fussball", "example.com", ""},
		{"7 sharp s", "fu\u00DFball@example.com", "", "fu\u00DFball", "example.com", ""},
		{"8 small pi", "\u03C0@example.com", "", "\u03C0", "example.com", ""},
		{"9 capital sigma", "\u03A3@example.com/foo", "\u03C3@example.com/foo", "\u03C3", "example.com", "foo"},
		{"10 small sigma", "\u03C3@example.com/foo", "", "\u03C3", "example.com", "foo"},
		{"11 final sigma", "\u03C2@example.com/foo", "", "\u03C2", "example.com", "foo"},
		{"12 chess king", "king@example.com/\u265A", "", "king", "example.com", "\u265A"},
		{"13 domainpart", "example.com", "", "", "example.com", ""},
		{"14 domainpart and resourcepart", "example.com/foobar", "", "", "example.com", "foobar"},
		{"15 at sign after the slash", "a.example.com/b@example.net", "", "", "a.example.com", "b@example.net"},
		{"capitals fold", "Juliet@Example.COM/Balcony", "juliet@example.com/Balcony", "juliet", "example.com", "Balcony"},
		{"final dot", "juliet@example.com.", "juliet@example.com", "juliet", "example.com", ""},
		{"slash in resourcepart", "a@b.example/c/d", "", "a", "b.example", "c/d"},
		{"A-label becomes U-label", "a@xn--bcher-kva.example", "a@b\u00fccher.example", "a", "b\u00fccher.example", ""},
		{"fullwidth folds", "\uff41@example.com", "a@example.com", "a", "example.com", ""},
		{"decomposed composes", "e\u0301@example.com", "\u00e9@example.com", "\u00e9", "example.com", ""},
		{"IPv4", "a@192.0.2.1", "", "a", "192.0.2.1", ""},
		{"IPv6", "a@[2001:DB8::1]/x", "a@[2001:db8::1]/x", "a", "[2001:db8::1]", "x"},
		{"single label", "a@localhost", "", "a", "localhost", ""},
		{"longest localpart", strings.Repeat("a", 1023) + "@example.com", "", strings.Repeat("a", 1023), "example.com", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := jid.Parse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == "" {
				want = c.in
			}
			if j.String() != want || j.Local() != c.local || j.Domain() != c.domain || j.Resource() != c.resource {
				t.Fatalf("got %q = (%q, %q, %q)", j, j.Local(), j.Domain(), j.Resource())
			}
			if again := jid.MustParse(j.String()); again != j {
				t.Fatalf("%q is not itself when read again: %q", j, again)
			}
			if j.Bare().IsFull() || j.Bare().Local() != c.local || j.Bare().Domain() != c.domain {
				t.Fatalf("bare form is %q", j.Bare())
			}
		})
	}
}

// TestIllegalJIDs is Table 2 of RFC 7622 §3.5, and what a hostile peer would send.
func TestIllegalJIDs(t *testing.T) {
	for _, c := range []struct{ name, in, rule string }{
		{"16 quotation marks", `"juliet"@example.com`, "localpart"},
		{"17 space", "foo bar@example.com", "localpart"},
		{"18 leading space", "juliet@example.com/ foo", "resourcepart"},
		{"19 empty parts", "@example.com/", "resourcepart"},
		{"20 roman numeral", "henry\u2163@example.com", "localpart"},
		{"21 chess king", "\u265A@example.com", "localpart"},
		{"22 no domainpart", "juliet@", "domainpart"},
		{"23 resourcepart only", "/foobar", "domainpart"},
		{"empty", "", "domainpart"},
		{"two at signs", "a@b@c.example", "idna"},
		{"empty localpart", "@example.com", "localpart"},
		{"empty resourcepart", "a@example.com/", "resourcepart"},
		{"NUL", "a\x00b@example.com", "localpart"},
		{"CR LF in resourcepart", "a@example.com/x\r\ny", "resourcepart"},
		{"DEL", "a\x7f@example.com", "localpart"},
		{"broken UTF-8 in localpart", "a\xff@example.com", "utf-8"},
		{"broken UTF-8 in resourcepart", "a@example.com/\xc3", "utf-8"},
		{"broken UTF-8 in domainpart", "a@ex\xffample.com", "utf-8"},
		{"localpart too long", strings.Repeat("a", 1024) + "@example.com", "length"},
		{"resourcepart too long", "a@example.com/" + strings.Repeat("a", 1024), "length"},
		{"much too long", strings.Repeat("a", 5000), "length"},
		{"label too long", "a@" + strings.Repeat("a", 64) + ".example", "idna"},
		{"empty label", "a@a..example", "idna"},
		{"underscore", "a@a_b.example", "domainpart"},
		{"hyphen first", "a@-a.example", "idna"},
		{"fake A-label", "a@xn--example.com", "idna"},
		{"Punycode of ASCII", "a@xn--abc-.example", "idna"},
		{"fullwidth ampersand", "a\uff06b@example.com", "localpart"},
		{"fullwidth at sign in localpart", "a\uff20b@example.com", "localpart"},
		{"bidi", "a@\u05d0a.example", "idna"},
		{"IPv6 without brackets", "a@2001:db8::1", "idna"},
		{"numeric last label", "a@1.2.3.4.5", "address"},
		{"zone", "a@[fe80::1%eth0]", "address"},
		// "this character MUST be stripped from the domainpart before ... comparing against another JID" (RFC 7622 §3.2): one dot is; a second
		// one would leave two JIDs of one domain that compare as different.
		{"two final dots", "a@d.example..", "domainpart"},
		{"two final dots of digits", "0..", "domainpart"},
		{"final ideographic full stop", "a@d.example\u3002", "domainpart"},
		{"final dot and fullwidth full stop", "a@d.example\uff0e.", "domainpart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := jid.Parse(c.in)
			if err == nil {
				t.Fatalf("was taken as %q", j)
			}
			se, ok := err.(*jid.SyntaxError)
			if !ok || se.Rule != c.rule {
				t.Fatalf("got %v, want rule %q", err, c.rule)
			}
		})
	}
}

// TestEscapeExamples is the table of XEP-0106 §5.1 with the exceptions of §4.3.
func TestEscapeExamples(t *testing.T) {
	for _, c := range []struct{ plain, escaped string }{
		{`space cadet`, `space\20cadet`},
		{`call me "ishmael"`, `call\20me\20\22ishmael\22`},
		{`at&t guy`, `at\26t\20guy`},
		{`d'artagnan`, `d\27artagnan`},
		{`/.fanboy`, `\2f.fanboy`},
		{`::foo::`, `\3a\3afoo\3a\3a`},
		{`<foo>`, `\3cfoo\3e`},
		{`user@host`, `user\40host`},
		{`c:\net`, `c\3a\net`},
		{`c:\\net`, `c\3a\\net`},
		{`c:\cool stuff`, `c\3a\cool\20stuff`},
		{`c:\5commas`, `c\3a\5c5commas`},
		{`\3and\2is\5cool`, `\5c3and\2is\5c5cool`},
		{`\2plus\2is\4`, `\2plus\2is\4`},
		{`foo\bar`, `foo\bar`},
		{`foob\41r`, `foob\41r`},
		{`here's_a_wild_&_/cr%zy/_address`, `here\27s_a_wild_\26_\2fcr%zy\2f_address`},
	} {
		got, err := jid.Escape(c.plain)
		if err != nil || got != c.escaped {
			t.Errorf("Escape(%q) = %q, %v; want %q", c.plain, got, err, c.escaped)
		}
		if back := jid.Unescape(c.escaped); back != c.plain {
			t.Errorf("Unescape(%q) = %q, want %q", c.escaped, back, c.plain)
		}
	}
	for _, s := range []string{" a", "a ", " "} {
		// "The character sequence \20 MUST NOT be the first or last character of an escaped localpart" (XEP-0106 §4.1).
		if got, err := jid.Escape(s); err == nil {
			t.Errorf("Escape(%q) = %q", s, got)
		}
	}
}

// TestAddressExamples holds the examples of RFC 7247 §6.4 and §6.5, and the collisions of THREATS.md 0.2.
func TestAddressExamples(t *testing.T) {
	for _, c := range []struct{ jid, address string }{
		{"f\u00fc@sip.example", "im:f%C3%BC@sip.example"},
		{`o\27malley@sip.example`, "im:o'malley@sip.example"},
		{`m\26m@xmpp.example`, "im:m&m@xmpp.example"},
		{"tsch\u00fcss@xmpp.example", "im:tsch%C3%BCss@xmpp.example"},
		{`alice\40bank.example@d.example`, "im:alice%40bank.example@d.example"},
		{`o\5c27malley@d.example`, "im:o%5C27malley@d.example"},
		{"a@b\u00fccher.example", "im:a@xn--bcher-kva.example"},
	} {
		a := cpim.MustParseAddress(c.address)
		j, err := jid.FromAddress(a, "")
		if err != nil || j.String() != c.jid {
			t.Errorf("FromAddress(%s) = %q, %v; want %q", c.address, j, err, c.jid)
		}
		back, err := jid.ToAddress(jid.MustParse(c.jid), cpim.IM)
		if err != nil || back != a {
			t.Errorf("ToAddress(%q) = %q, %v; want %q", c.jid, back, err, c.address)
		}
	}
	for _, s := range []string{`a\5c41@d.example`, `\20a@d.example`, `a\20@d.example`, "d.example", "a@192.0.2.1"} {
		if a, err := jid.ToAddress(jid.MustParse(s), cpim.Pres); err == nil {
			t.Errorf("ToAddress(%q) = %q, but it has no address", s, a)
		}
	}
	j, err := jid.FromAddress(cpim.MustParseAddress("pres:baz@xmpp.example"), "qux")
	if err != nil || j.String() != "baz@xmpp.example/qux" {
		t.Errorf("got %q, %v", j, err)
	}
}

// TestTID05Exhaustive: of all local parts of one and two ASCII characters, no two different ones share a JID or an address, and
// what maps, maps back.
func TestTID05Exhaustive(t *testing.T) {
	var locals []string
	for a := range 128 {
		locals = append(locals, string(rune(a)))
		for b := range 128 {
			locals = append(locals, string(rune(a))+string(rune(b)))
		}
	}
	jids := map[jid.JID]string{}
	mapped := 0
	for _, l := range locals {
		a, err := cpim.NewAddress(cpim.IM, l, "d.example")
		if err != nil {
			continue
		}
		j, err := jid.FromAddress(a, "")
		if err != nil {
			continue
		}
		mapped++
		if other, taken := jids[j]; taken {
			t.Fatalf("%q and %q both are %q", l, other, j)
		}
		jids[j] = l
		if back, err := jid.ToAddress(j, cpim.IM); err != nil || back != a {
			t.Fatalf("%q -> %q -> %q, %v", l, j, back, err)
		}
	}
	addresses := map[cpim.Address]jid.JID{}
	for _, l := range locals {
		j, err := jid.New(jid.Parts{Local: l, Domain: "d.example"})
		if err != nil {
			continue
		}
		a, err := jid.ToAddress(j, cpim.IM)
		if err != nil {
			continue
		}
		if other, taken := addresses[a]; taken && other != j {
			t.Fatalf("%q and %q both are %q", j, other, a)
		}
		addresses[a] = j
	}
	if mapped < 68*68 {
		t.Fatalf("only %d local parts map", mapped)
	}
}

// TestTID05Property: map(a) = map(b) means a = b, in both directions, over local parts rich in escapes.
func TestTID05Property(t *testing.T) {
	local := rapid.StringOfN(rapid.SampledFrom([]rune(`\\\\0257cefa3@/'&" :<>`+"A\u00e9\u00df\u03c3\u0301\u4e2d")), 1, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		x, y := local.Draw(t, "x"), local.Draw(t, "y")
		ax, err := cpim.NewAddress(cpim.IM, x, "d.example")
		if err != nil {
			return
		}
		jx, err := jid.FromAddress(ax, "")
		if err != nil {
			return
		}
		if back, err := jid.ToAddress(jx, cpim.IM); err != nil || back != ax {
			t.Fatalf("%q -> %q -> %q, %v", x, jx, back, err)
		}
		ay, err := cpim.NewAddress(cpim.IM, y, "d.example")
		if err != nil {
			return
		}
		if jy, err := jid.FromAddress(ay, ""); err == nil && jy == jx && ax != ay {
			t.Fatalf("%q and %q both are %q", x, y, jx)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		x, y := local.Draw(t, "x"), local.Draw(t, "y")
		jx, ex := jid.New(jid.Parts{Local: x, Domain: "d.example"})
		jy, ey := jid.New(jid.Parts{Local: y, Domain: "d.example"})
		if ex != nil || ey != nil {
			return
		}
		ax, ex := jid.ToAddress(jx, cpim.Pres)
		ay, ey := jid.ToAddress(jy, cpim.Pres)
		if ex == nil && ey == nil && ax == ay && jx != jy {
			t.Fatalf("%q and %q both are %q", jx, jy, ax)
		}
		if ex == nil {
			if back, err := jid.FromAddress(ax, ""); err != nil || back != jx {
				t.Fatalf("%q -> %q -> %q, %v", jx, ax, back, err)
			}
		}
	})
}

func FuzzJID(f *testing.F) {
	for _, s := range []string{"juliet@example.com/foo bar", `o\5c27malley@d.example`, "\u03A3@b\u00fccher.example/\u265A", "a@[::1]", "@/", "a@xn--a.b", "\uff21@x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := jid.Parse(s)
		if err != nil {
			if _, ok := err.(*jid.SyntaxError); !ok {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		if again, err := jid.Parse(j.String()); err != nil || again != j {
			t.Fatalf("%q -> %q -> %q, %v", s, j, again, err)
		}
		parts, err := jid.New(jid.Parts{Local: j.Local(), Domain: j.Domain(), Resource: j.Resource()})
		if err != nil || parts != j {
			t.Fatalf("parts of %q make %q, %v", j, parts, err)
		}
		a, err := jid.ToAddress(j, cpim.IM)
		if err != nil {
			return
		}
		if back, err := jid.FromAddress(a, j.Resource()); err != nil || back != j {
			t.Fatalf("%q -> %q -> %q, %v", j, a, back, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, in string }{
		{"ascii", "juliet@example.com/yn0cl4bnw0yr3vym"},
		{"capitals", "Juliet@example.com/yn0cl4bnw0yr3vym"},
		{"unicode", "tsch\u00fcss@b\u00fccher.example/\u265A"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jid.Parse(c.in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAddress(b *testing.B) {
	a := cpim.MustParseAddress("im:juliet@example.com")
	j := jid.MustParse("juliet@example.com/yn0cl4bnw0yr3vym")
	b.Run("from", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jid.FromAddress(a, "yn0cl4bnw0yr3vym"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("to", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jid.ToAddress(j, cpim.IM); err != nil {
				b.Fatal(err)
			}
		}
	})
}
