package cpim

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseAddress(t *testing.T) {
	tests := []struct{ name, in, scheme, local, domain, out string }{
		{"plain", "im:romeo@example.net", "im", "romeo", "example.net", ""},
		{"pres", "pres:juliet@example.com", "pres", "juliet", "example.com", ""},
		{"RFC 3860 §3.1", "im:fred@example.com", "im", "fred", "example.com", ""},
		{"RFC 3860 Appendix B", "im:pepp=example.com/fred@relay-domain", "im", "pepp=example.com/fred", "relay-domain", ""},
		{"scheme in capitals", "IM:romeo@example.net", "im", "romeo", "example.net", "im:romeo@example.net"},
		{"domain in capitals", "im:romeo@EXAMPLE.Net", "im", "romeo", "example.net", "im:romeo@example.net"},
		{"trailing dot", "im:romeo@example.net.", "im", "romeo", "example.net", "im:romeo@example.net"},
		{"single label", "im:romeo@localhost", "im", "romeo", "localhost", ""},
		{"needless encoding", "im:%72om%65o@example.net", "im", "romeo", "example.net", "im:romeo@example.net"},
		{"at sign", "im:a%40b@example.net", "im", "a@b", "example.net", ""},
		{"space inside", "im:a%20b@example.net", "im", "a b", "example.net", ""},
		{"apostrophe", "im:o'malley@example.net", "im", "o'malley", "example.net", ""},
		{"backslash", "im:o%5C27malley@example.net", "im", `o\27malley`, "example.net", ""},
		{"lower-case digits", "im:o%5c27malley@example.net", "im", `o\27malley`, "example.net", "im:o%5C27malley@example.net"},
		{"utf-8", "im:f%C3%BC@example.net", "im", "fü", "example.net", ""},
		{"specials encoded", "im:a%28b%29%2C%3B%3A@example.net", "im", "a(b),;:", "example.net", ""},
		{"dots that need encoding", "im:a%2E%2Eb%2E@example.net", "im", "a..b.", "example.net", "im:a.%2Eb%2E@example.net"},
		{"question mark and hash", "im:a%3Fb%23c%25@example.net", "im", "a?b#c%", "example.net", ""},
		{"IDN, A-label", "im:a@xn--bcher-kva.example", "im", "a", "xn--bcher-kva.example", ""},
		{"IDN, percent-encoded U-label", "im:a@b%C3%BCcher.example", "im", "a", "xn--bcher-kva.example", "im:a@xn--bcher-kva.example"},
		{"long local part", "im:" + strings.Repeat("a", 1023) + "@d", "im", strings.Repeat("a", 1023), "d", ""},
		{"label with two hyphens", "im:a@r3---sn-x.example", "im", "a", "r3---sn-x.example", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParseAddress(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if a.Scheme().String() != tt.scheme || a.Local() != tt.local || a.Domain() != tt.domain {
				t.Errorf("got %v %q %q", a.Scheme(), a.Local(), a.Domain())
			}
			out := tt.out
			if out == "" {
				out = tt.in
			}
			if a.String() != out {
				t.Errorf("prints %s, want %s", a, out)
			}
			if b, err := ParseAddress(a.String()); err != nil || a != b {
				t.Errorf("reads back as %v, %v", b, err)
			}
			if b, err := NewAddress(a.Scheme(), a.Local(), a.Domain()); err != nil || a != b {
				t.Errorf("made again as %v, %v", b, err)
			}
		})
	}
}

func TestParseAddressRefuses(t *testing.T) {
	tests := []struct {
		name, in, rule string
		offset         int
	}{
		{"empty", "", "address-scheme", 0},
		{"no scheme", "romeo@example.net", "address-scheme", 0},
		{"other scheme", "sip:romeo@example.net", "address-scheme", 0},
		{"no local part", "im:example.net", "mailbox", 14},
		{"empty local part", "im:@example.net", "local-empty", 3},
		{"empty domain", "im:romeo@", "domain-empty", 9},
		{"headers", "im:romeo@example.net?subject=x", "address-headers", 20},
		{"headers before at", "im:?to=romeo@example.net", "address-headers", 3},
		{"two at signs", "im:a@b@example.net", "mailbox", 6},
		{"fragment", "im:romeo@example.net#x", "domain-character", 20},
		{"space", "im:ro meo@example.net", "local-character", 5},
		{"quoted", `im:"a"@example.net`, "local-character", 3},
		{"leading dot", "im:.a@example.net", "dot-atom", 3},
		{"trailing dot", "im:a.@example.net", "dot-atom", 4},
		{"two dots", "im:a..b@example.net", "dot-atom", 5},
		{"raw special", "im:a,b@example.net", "local-character", 4},
		{"raw utf-8", "im:fü@example.net", "uri-character", 4},
		{"raw utf-8 domain", "im:a@bücher.example", "uri-character", 6},
		{"cut encoding", "im:a%4@example.net", "percent-encoding", 4},
		{"no hex", "im:a%zz@example.net", "percent-encoding", 4},
		{"NUL", "im:a%00b@example.net", "control-character", 4},
		{"CR LF", "im:a%0d%0ab@example.net", "control-character", 4},
		{"DEL", "im:a%7Fb@example.net", "control-character", 4},
		{"latin-1", "im:f%FC@example.net", "utf-8", 4},
		{"overlong", "im:f%C0%AF@example.net", "utf-8", 4},
		{"leading space", "im:%20a@example.net", "local-space", 3},
		{"trailing space", "im:a%20@example.net", "local-space", 4},
		{"capitals", "im:Alice@example.net", "local-case", 3},
		{"capital umlaut", "im:%C3%9Cli@example.net", "local-case", 3},
		{"not in form C", "im:u%CC%88@example.net", "local-case", 3},
		{"fullwidth", "im:a%EF%BD%81@example.net", "local-case", 4},
		{"no-break space", "im:a%C2%A0b@example.net", "local-precis", 4},
		{"roman numeral", "im:ab%E2%85%A7@example.net", "local-precis", 5},
		{"emoji", "im:%F0%9F%98%80@example.net", "local-precis", 3},
		{"bidi rule", "im:1%D7%90a@example.net", "local-precis", 3},
		{"zero width space", "im:a%E2%80%8Bb@example.net", "local-precis", 4},
		{"too long", "im:" + strings.Repeat("a", 1024) + "@d", "local-length", 3 + 1023},
		{"too long once escaped", "im:" + strings.Repeat("a", 1020) + "%40%40@d", "local-length", 3 + 1026},
		{"IPv4", "im:a@192.0.2.1", "domain-literal", 13},
		{"IPv6", "im:a@[2001:db8::1]", "domain-character", 10},
		{"address literal", "im:a@[192.0.2.1]", "domain-literal", 5},
		{"all-digit last label", "im:a@example.123", "domain-literal", 13},
		{"last label begins with a digit", "im:a@example.1c", "domain-label", 13},
		{"empty label", "im:a@example..net", "domain-label", 13},
		{"leading dot in domain", "im:a@.example", "domain-label", 5},
		{"two trailing dots", "im:a@example..", "domain-label", 13},
		{"only a dot", "im:a@.", "domain-label", 5},
		{"leading hyphen", "im:a@-a.example", "domain-label", 5},
		{"trailing hyphen", "im:a@a-.example", "domain-label", 6},
		{"underscore", "im:a@_sip.example", "domain-character", 5},
		{"long label", "im:a@" + strings.Repeat("a", 64), "domain-label", 5 + 63},
		{"long domain", "im:a@" + strings.Repeat("a.", 127) + "b", "domain-length", 5 + 253},
		{"port", "im:a@example.net:5060", "domain-character", 16},
		{"punycode of ASCII", "im:a@xn--abc-.example", "domain-idna", 5},
		{"bad punycode", "im:a@xn--a.example", "domain-idna", 5},
		{"disallowed IDN", "im:a@%E2%99%A5.example", "domain-idna", 5},
		{"much too long", "im:" + strings.Repeat("a", 9000), "address-length", MaxAddressOctets},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParseAddress(tt.in)
			var serr *SyntaxError
			if !errors.As(err, &serr) {
				t.Fatalf("accepted as %v", a)
			}
			if serr.Rule != tt.rule || serr.Offset != tt.offset {
				t.Errorf("got %v, want %s at %d", serr, tt.rule, tt.offset)
			}
			if serr.Section == "" || serr.Expected == "" || !a.IsZero() {
				t.Errorf("incomplete: %#v, %v", serr, a)
			}
		})
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"im:Alice@example.net":         "im:alice@example.net",
		"im:%C3%9Cli@example.net":      "im:%C3%BCli@example.net",
		"im:u%CC%88@example.net":       "im:%C3%BC@example.net",
		"im:O'Malley@example.net":      "im:o'malley@example.net",
		"im:a%EF%BC%A1@example.net":    "im:aa@example.net",
		"im:A%5C2FB@example.net":       "im:a%5C2fb@example.net",
		"im:%CE%A3%CE%A3@example.net":  "im:%CF%83%CF%83@example.net",
		"im:already.small@example.net": "im:already.small@example.net",
	} {
		a, err := ParseAddressFold(in)
		if err != nil || a.String() != want {
			t.Errorf("%s: got %v, %v, want %s", in, a, err, want)
			continue
		}
		if b, err := ParseAddress(want); err != nil || a != b {
			t.Errorf("%s: strictly %v, %v", want, b, err)
		}
	}
	if a, err := ParseAddressFold("im:a%C2%A0b@example.net"); err == nil {
		t.Errorf("accepted %v", a)
	}
	if a, err := NewAddressFold(Pres, "Jürgen", "BÜCHER.example"); err != nil || a.String() != "pres:j%C3%BCrgen@xn--bcher-kva.example" {
		t.Errorf("%v, %v", a, err)
	}
}

func TestAddressValues(t *testing.T) {
	im := MustParseAddress("im:a@example.net")
	pres := im.WithScheme(Pres)
	if pres.String() != "pres:a@example.net" || im == pres || !im.SameMailbox(pres) {
		t.Errorf("%v, %v", im, pres)
	}
	var zero Address
	if !zero.IsZero() || zero.String() != "" || zero.SameMailbox(zero) || !zero.WithScheme(IM).IsZero() || !zero.SIPURI().IsZero() {
		t.Error("the zero Address must be no address")
	}
	if _, err := NewAddress(0, "a", "b"); err == nil {
		t.Error("no scheme")
	}
	var back struct{ A, B Address }
	b, err := json.Marshal(struct{ A, B Address }{A: im})
	if err != nil || string(b) != `{"A":"im:a@example.net","B":""}` {
		t.Fatalf("%s, %v", b, err)
	}
	if err := json.Unmarshal(b, &back); err != nil || back.A != im || !back.B.IsZero() {
		t.Errorf("%+v, %v", back, err)
	}
	if m := MailboxOf("Ann", im); m.String() != "Ann <im:a@example.net>" {
		t.Errorf("%s", m)
	}
}

// T-FZ-07: CVE-2026-56852 made x/text loop for ever on invalid UTF-8. Every way
// in must refuse such octets well within a second.
func TestInvalidUTF8DoesNotHang(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, bad := range []string{
			"\xff", "a\xcc", "\xf0\x9f\x98", "\xed\xa0\x80", "e\xcc\x81\xc0\xaf", strings.Repeat("\xcc\x81", 400) + "\xf4\x90\x80\x80",
		} {
			if _, err := NewAddress(IM, bad, "example.net"); err == nil {
				t.Errorf("local %q accepted", bad)
			}
			if _, err := NewAddressFold(IM, bad, "example.net"); err == nil {
				t.Errorf("folded local %q accepted", bad)
			}
			if _, err := NewAddress(IM, "a", bad+".example"); err == nil {
				t.Errorf("domain %q accepted", bad)
			}
			if _, err := NewInstance(bad); err == nil {
				t.Errorf("instance %q accepted", bad)
			}
		}
	}()
	watchdog := time.NewTimer(time.Second)
	defer watchdog.Stop()
	select {
	case <-done:
	case <-watchdog.C:
		t.Fatal("still not done after a second")
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{
		"im:romeo@example.net", "PRES:a%40b@Example.NET.", "im:f%C3%BC@xn--bcher-kva.example", "im:A.B@c",
		"im:a..b@c", "im:o%5C27malley@d", "im:%20@d", "im:a%00@d", "im:a@[::1]", "im:%D7%90%20%D7%91@d", "im:a%5C5c@d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		strict, err := ParseAddress(s)
		folded, ferr := ParseAddressFold(s)
		if err == nil && (ferr != nil || strict != folded) {
			t.Fatalf("strict %v, folded %v, %v", strict, folded, ferr)
		}
		if err != nil {
			checkSyntaxError(t, err, len(s))
		}
		if ferr != nil {
			checkSyntaxError(t, ferr, len(s))
			return
		}
		for _, r := range folded.Local() {
			if r < 0x20 || r == 0x7f {
				t.Fatalf("control character in %q", folded.Local())
			}
		}
		if len(folded.Local()) > MaxLocalOctets || len(folded.Domain()) > MaxDomainOctets {
			t.Fatalf("too long: %v", folded)
		}
		back, err := ParseAddress(folded.String())
		if err != nil || back != folded {
			t.Fatalf("%v reads back as %v, %v", folded, back, err)
		}
		id, err := AddressFromSIPURI(folded.SIPURI(), folded.Scheme())
		if err != nil || id.Address != folded {
			t.Fatalf("%v by SIP is %v, %v", folded, id.Address, err)
		}
	})
}

// checkSyntaxError checks what must be true of every error.
func checkSyntaxError(t *testing.T, err error, size int) {
	t.Helper()
	var serr *SyntaxError
	if !errors.As(err, &serr) || serr.Rule == "" || serr.Section == "" || serr.Expected == "" {
		t.Fatalf("incomplete error %#v", err)
	}
	if serr.Offset < 0 || serr.Offset > size {
		t.Fatalf("offset %d of %d: %v", serr.Offset, size, err)
	}
	if strings.ContainsAny(serr.Error(), "\r\n\x00") {
		t.Fatalf("error text breaks a line: %q", serr.Error())
	}
}

func BenchmarkParseAddress(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseAddress("im:romeo@example.net"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAddressUnicode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseAddress("im:j%C3%BCrgen@xn--bcher-kva.example"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddressAppend(b *testing.B) {
	a := MustParseAddress("im:romeo@example.net")
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = a.Append(buf[:0])
	}
}

// A clone is the same address, and costs one allocation.
func TestAddressClone(t *testing.T) {
	for _, in := range []string{"im:juliet@example.com", "pres:a%20b@example.net"} {
		a := MustParseAddress(in)
		if a.Clone() != a || a.Clone().String() != a.String() {
			t.Errorf("%v became %v", a, a.Clone())
		}
		if n := testing.AllocsPerRun(100, func() { a = a.Clone() }); n > 1 {
			t.Errorf("%v allocations", n)
		}
	}
	if (Address{}).Clone() != (Address{}) {
		t.Error("no address became one")
	}
}
