package wire

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func mustParse(t *testing.T, s string) *Message {
	t.Helper()
	m, err := Parse([]byte(s), Limits{})
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return m
}

// RFC 3261 §7.3.3: "Implementations MUST accept both the long and short forms of each header name."
func TestCompactForms(t *testing.T) {
	t.Parallel()
	for compact, long := range map[string]string{
		"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition", "e": "Content-Encoding", "f": "From",
		"i": "Call-ID", "j": "Reject-Contact", "k": "Supported", "l": "Content-Length", "m": "Contact", "n": "Identity-Info", "o": "Event",
		"r": "Refer-To", "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
	} {
		if headerNamed(compact) != headerNamed(long) || headerNamed(strings.ToUpper(compact)) != headerNamed(strings.ToLower(long)) || headerNamed(long) == hOther {
			t.Errorf("%s is not %s", compact, long)
		}
	}
	for id := hOther + 1; id < hCount; id++ {
		if s := headerSpecs[id]; s.name == "" || headerNamed(s.name) != id || s.single == s.list {
			t.Errorf("header %d: %+v", id, s)
		}
	}
	// Every value of a byte is looked up without a panic.
	for c := range 256 {
		headerNamed(string([]byte{byte(c)}))
	}
	m := mustParse(t, strings.Replace(mutantBase, "Subject: balcony", "o: presence;id=1\r\nk: gruu , path,,\r\nSupported: eventlist", 1))
	if v, ok := m.Header("Event"); !ok || v != "presence;id=1" {
		t.Errorf("Event %q", v)
	}
	if got := slices.Collect(m.Headers("SUPPORTED")); !slices.Equal(got, []string{"gruu", "path", "eventlist"}) {
		t.Errorf("Supported %q", got)
	}
	if _, ok := m.Header("Subject"); ok {
		t.Error("Subject is there")
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	m := mustParse(t, strings.Replace(mutantBase, "Subject: balcony", strings.Join([]string{
		`Contact: "a, \", b" <sip:a,1@b>;q=0.5 , <sip:c@d>`, `m: sip:e@f`, `X-List: a, b`, `x-list: c`, `Date: Sat, 13 Nov 2010 23:29:00 GMT`,
		`In-Reply-To: 1"2@h, 3@h`, `Subject: fold` + "\r\n\t here",
	}, "\r\n"), 1))
	for name, want := range map[string][]string{
		"contact":     {`"a, \", b" <sip:a,1@b>;q=0.5`, `<sip:c@d>`, `sip:e@f`},
		"X-List":      {"a, b", "c"}, // not known to be a list: never split
		"Date":        {"Sat, 13 Nov 2010 23:29:00 GMT"},
		"In-Reply-To": {`1"2@h`, "3@h"},
		"Subject":     {"fold  \t here"},
		"absent":      nil,
	} {
		if got := slices.Collect(m.Headers(name)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, should be %q", name, got, want)
		}
	}
}

func TestURI(t *testing.T) {
	t.Parallel()
	u := MustParseURI("SIPS:ju%20liet;x=1:secret@[2001:db8::1]:5071;transport=tcp;LR;gr=urn:uuid:1?Subject=x&a=")
	got := []string{u.Scheme(), u.User(), u.Host(), u.Params(), u.HeaderFields()}
	if want := []string{"sips", "ju%20liet;x=1", "[2001:db8::1]", "transport=tcp;LR;gr=urn:uuid:1", "Subject=x&a="}; !slices.Equal(got, want) || u.Port() != 5071 || !u.HasPassword() {
		t.Errorf("%q", got)
	}
	if v, ok := u.Param("lr"); !ok || v != "" {
		t.Errorf("lr %q %v", v, ok)
	}
	if v, _ := u.Param("GR"); v != "urn:uuid:1" {
		t.Errorf("gr %q", v)
	}
	if _, ok := u.Param("missing"); ok {
		t.Error("missing is there")
	}
	if tel := MustParseURI("tel:+1-201-555-0123;phone-context=x"); tel.IsSIP() || tel.Scheme() != "tel" || tel.User() != "" || tel.Host() != "" || tel.Params() != "" || tel.HeaderFields() != "" {
		t.Errorf("tel %+v", tel)
	}
	var zero URI
	if !zero.IsZero() || zero.Scheme() != "" || zero.Host() != "" || zero.User() != "" || zero.Params() != "" || zero.HeaderFields() != "" {
		t.Error("the zero URI has parts")
	}
	if _, ok := zero.Param("x"); ok {
		t.Error("the zero URI has a parameter")
	}
	for name, s := range map[string]string{
		"empty": "", "no scheme": "juliet@example.com", "no host": "sip:", "no host behind user": "sip:a@", "empty user": "sip:@h", "two at": "sip:a@b@c",
		"space": "sip:a b@c", "raw control": "sip:a\x01@c", "bad escape": "sip:a%2@c", "escape without hex": "sip:a%zz@c", "port 0": "sip:a@c:0",
		"port 65536": "sip:a@c:65536", "empty port": "sip:a@c:", "empty parameter": "sip:a@c;", "two equal signs": "sip:a@c;x=1=2", "no value": "sip:a@c;x=",
		"parameter twice": "sip:a@c;x=1;X=2", "header without value": "sip:a@c?x", "zone": "sip:a@[fe80::1%25eth0]", "IPv6 bare": "sip:a@2001:db8::1",
		"octal IPv4": "sip:a@192.000.002.001", "short IPv4": "sip:a@192.0.2", "label begins with hyphen": "sip:a@-x.com", "label ends with hyphen": "sip:a@x-.com",
		"empty label": "sip:a@x..com", "underscore": "sip:a@x_y.com", "angle": "<sip:a@c>", "non-ASCII user": "sip:é@c", "number as top label": "sip:a@example.123",
		"scheme begins with a digit": "1sip:a@c", "empty opaque": "tel:", "comma in host": "sip:a@c,d",
	} {
		if u, err := ParseURI(s); err == nil {
			t.Errorf("%s: %q was taken: %+v", name, s, u)
		}
	}
	if s, err := Unescape("a%20b%C3%A9"); err != nil || s != "a bé" {
		t.Errorf("%q %v", s, err)
	}
	for _, s := range []string{"%0d", "%0A", "%00", "%7f", "%ff", "%", "%4"} {
		if v, err := Unescape(s); err == nil {
			t.Errorf("%q became %q", s, v)
		}
	}
}

func TestGR(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"<sip:a@b;gr=yn0cl4bnw0yr3vym>;tag=1":      "yn0cl4bnw0yr3vym",
		"<sip:a@b>;gr=yn0cl4bnw0yr3vym;tag=1":      "yn0cl4bnw0yr3vym", // RFC 8048's examples
		"<sip:a@b;gr=in>;gr=out":                   "in",
		"<sip:a@b;gr=a%20b>":                       "a b",
		"sip:a@b;gr=z;tag=1":                       "z",
		"<sip:a@b;gr=urn:uuid:f81d4fae-7dec-11d0>": "urn:uuid:f81d4fae-7dec-11d0",
	} {
		if got, ok := MustParseAddr(s).GR(); !ok || got != want {
			t.Errorf("%s: %q, should be %q", s, got, want)
		}
	}
	for _, s := range []string{"<sip:a@b>", "<sip:a@b;gr=%0d%0a>"} {
		if got, ok := MustParseAddr(s).GR(); ok {
			t.Errorf("%s: %q", s, got)
		}
	}
}

// THREATS S6, LIBRARIES.md A: nothing that ends a line, hides a header field or adds one ever comes out of a writer.
func TestWritersRefuse(t *testing.T) {
	t.Parallel()
	m := mustParse(t, mutantBase)
	base := Request{
		Method: "MESSAGE", URI: "sip:romeo@example.net", From: "<sip:juliet@example.com>;tag=1", To: "<sip:romeo@example.net>", CallID: "1@h", CSeq: 1,
		ContentType: "text/plain", Body: []byte("x"),
	}
	via := ViaSpec{Transport: "UDP", SentBy: "h:5060", Branch: "z9hG4bK1"}
	if _, err := AppendRequest(nil, &base, via); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"a\r\nX: 1", "a\nX: 1", "a\rX", "a\x00", "a\x7f", "a\x1b", "a\xff"} {
		for name, change := range map[string]func(*Request, *ViaSpec){
			"method":       func(r *Request, _ *ViaSpec) { r.Method = bad },
			"uri":          func(r *Request, _ *ViaSpec) { r.URI = "sip:" + bad + "@h" },
			"from":         func(r *Request, _ *ViaSpec) { r.From = `"` + bad + `" <sip:a@b>` },
			"to":           func(r *Request, _ *ViaSpec) { r.To = "<sip:a@b>;x=" + bad },
			"call-id":      func(r *Request, _ *ViaSpec) { r.CallID = bad },
			"header name":  func(r *Request, _ *ViaSpec) { r.Headers = []Header{{bad, "x"}} },
			"header value": func(r *Request, _ *ViaSpec) { r.Headers = []Header{{"Subject", bad}} },
			"content-type": func(r *Request, _ *ViaSpec) { r.ContentType = "text/plain;x=\"" + bad + "\"" },
			"transport":    func(_ *Request, v *ViaSpec) { v.Transport = bad },
			"sent-by":      func(_ *Request, v *ViaSpec) { v.SentBy = bad },
			"branch":       func(_ *Request, v *ViaSpec) { v.Branch = bad },
		} {
			r, v := base, via
			change(&r, &v)
			if b, err := AppendRequest([]byte("kept"), &r, v); err == nil || string(b) != "kept" {
				t.Errorf("%s %q: %v %q", name, bad, err, b)
			}
		}
		for name, r := range map[string]Response{
			"reason":       {Code: 200, Reason: bad},
			"tag":          {Code: 200, ToTag: bad},
			"header name":  {Code: 200, Headers: []Header{{bad, "x"}}},
			"header value": {Code: 200, Headers: []Header{{"Subject", bad}}},
			"content-type": {Code: 200, ContentType: "text/" + bad},
		} {
			if b, err := AppendResponse([]byte("kept"), m, r); err == nil || string(b) != "kept" {
				t.Errorf("response %s %q: %v %q", name, bad, err, b)
			}
		}
		if s, err := FormatAddr(AddrSpec{Display: bad, URI: "sip:a@b"}); err == nil {
			t.Errorf("display %q became %q", bad, s)
		}
		if s, err := FormatAddr(AddrSpec{URI: "sip:a@b", Tag: bad}); err == nil {
			t.Errorf("tag %q became %q", bad, s)
		}
		if s, err := FormatAddr(AddrSpec{URI: "sip:a@b", Params: []Param{{"x", bad}}}); err == nil {
			t.Errorf("parameter %q became %q", bad, s)
		}
	}
	for _, name := range []string{"Via", "v", "From", "t", "Call-ID", "cseq", "Max-Forwards", "l", "CONTENT-LENGTH", "Content-Type", "", "a b", "a:"} {
		r := base
		r.Headers = []Header{{name, "1"}}
		if _, err := AppendRequest(nil, &r, via); err == nil {
			t.Errorf("header %q was written", name)
		}
	}
	for name, change := range map[string]func(*Request){
		"body without type":  func(r *Request) { r.ContentType = "" },
		"uri with headers":   func(r *Request) { r.URI += "?Route=x" },
		"from without uri":   func(r *Request) { r.From = "Juliet" },
		"two From values":    func(r *Request) { r.From += ", <sip:eve@h>" },
		"cseq of 2**31":      func(r *Request) { r.CSeq = 1 << 31 },
		"256 hops":           func(r *Request) { r.MaxForwards = 256 },
		"call-id with space": func(r *Request) { r.CallID = "a b" },
	} {
		r := base
		change(&r)
		if b, err := AppendRequest(nil, &r, via); err == nil {
			t.Errorf("%s: %q", name, b)
		}
	}
	s, err := FormatAddr(AddrSpec{Display: `Eve" <sip:eve@h>;tag=1, \`, URI: "sip:a@b", Tag: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if a := MustParseAddr(s); a.Display() != `Eve" <sip:eve@h>;tag=1, \` || a.URI().Host() != "b" || a.Tag() != "t" {
		t.Errorf("%q", s)
	}
}

// RFC 3261 §8.2.6.2 and §12.1.1: what a response copies.
func TestResponseCopies(t *testing.T) {
	t.Parallel()
	raw := strings.NewReplacer("MESSAGE", "SUBSCRIBE", "Subject: balcony",
		"Record-Route: <sip:p1;lr>\r\nv: SIP/2.0/UDP two;branch=z9hG4bK2, SIP/2.0/UDP three\r\nTimestamp: 54\r\nRecord-Route: <sip:p2;lr>").Replace(mutantBase)
	m := mustParse(t, raw)
	m.SetSource(netip.MustParseAddrPort("[2001:db8::7]:5061"))
	got, err := AppendResponse(nil, m, Response{Code: 202, ToTag: "t1", Headers: []Header{{"Expires", "60"}}})
	want := "SIP/2.0 202 Accepted\r\n" +
		"Via: SIP/2.0/TCP client.example.com:5060;branch=z9hG4bKnashds8;received=2001:db8::7\r\n" +
		"Via: SIP/2.0/UDP two;branch=z9hG4bK2, SIP/2.0/UDP three\r\n" +
		"From: \"Juliet\" <sip:juliet@example.com>;tag=88sja8x\r\n" +
		"To: <sip:romeo@example.net>;tag=t1\r\n" +
		"Call-ID: 987asjd97y7atg@client.example.com\r\nCSeq: 986759 SUBSCRIBE\r\n" +
		"Record-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nshould be\n%s", err, got, want)
	}
	if m.ViaCount() != 3 {
		t.Errorf("%d Vias", m.ViaCount())
	}
	trying, err := AppendResponse(nil, m, Response{Code: 100, ToTag: "t1"})
	if err != nil || !strings.Contains(string(trying), "To: <sip:romeo@example.net>\r\n") || !strings.Contains(string(trying), "Timestamp: 54\r\n") || strings.Contains(string(trying), "Record-Route") {
		t.Errorf("%v\n%s", err, trying)
	}
	refused, err := AppendResponse(nil, m, Response{Code: 403, ToTag: "t1"})
	if err != nil || strings.Contains(string(refused), "Record-Route") {
		t.Errorf("%v\n%s", err, refused)
	}
}

// THREATS S16: branches, tags and Call-IDs have more than 64 random bits: no two are alike, and every character but the cookie varies.
func TestIdentifiers(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 2000 {
		tag, callID := NewTagAndCallID()
		for _, s := range []string{NewTag(), NewBranch(""), NewCallID(""), tag, callID} {
			if seen[s] || !isToken(s) || len(strings.TrimPrefix(s, MagicCookie)) != 24 {
				t.Fatalf("%q", s)
			}
			seen[s] = true
		}
	}
	for hint, suffix := range map[string]string{"stanza-1": "-stanza-1", "": "", "a b": "", "a\r\n": "", strings.Repeat("x", 100): "-" + strings.Repeat("x", 64)} {
		if b := NewBranch(hint); b[len(MagicCookie)+24:] != suffix {
			t.Errorf("hint %q: %q", hint, b)
		}
	}
	if id := NewCallID("h\r\n"); strings.ContainsAny(id, "\r\n@") {
		t.Errorf("%q", id)
	}
}

// The whole index costs one allocation, and nothing else is copied.
func TestParseAllocates(t *testing.T) {
	raw := benchMessage()
	if n := testing.AllocsPerRun(100, func() { Parse(raw, Limits{}) }); n > 3 { //nolint:errcheck // it is valid
		t.Errorf("%g allocations", n)
	}
	m := mustParse(t, string(raw))
	dst := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() { AppendResponse(dst, m, Response{Code: 200, ToTag: "x"}) }); n != 0 { //nolint:errcheck // it is valid
		t.Errorf("%g allocations for a response", n)
	}
}

// A tag of ours is made of octets, and these make the same tag; another tag has none.
func TestPackTag(t *testing.T) {
	for range 100 {
		tag := NewTag()
		if b, ok := PackTag(tag); !ok || UnpackTag(b) != tag {
			t.Fatalf("%q: %v, %q", tag, ok, UnpackTag(b))
		}
	}
	for _, tag := range []string{"", "a", "0123456789abcdefghijklm", "0123456789abcdefghijklmno", "0123456789abcdefghijklmw", "0123456789ABCDEFGHIJKLMN"} {
		if b, ok := PackTag(tag); ok {
			t.Errorf("%q is taken for %q", tag, UnpackTag(b))
		}
	}
}
