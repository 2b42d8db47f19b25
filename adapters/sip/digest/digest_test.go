package digest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/digest"
)

// The example of RFC 7616 §3.9.1, which is HTTP's.
func TestExampleOfRFC7616(t *testing.T) {
	request := digest.Request{Method: "GET"}
	for _, c := range []struct {
		algorithm digest.Algorithm
		response  string
	}{
		{digest.MD5, "8ca523f5e9506fed4657c9700eebdbec"},
		{digest.SHA256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
	} {
		chal, err := digest.ParseChallenge(`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=` + c.algorithm.String() +
			`, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`)
		if err != nil {
			t.Fatal(err)
		}
		got, err := digest.Answer(chal, "Mufasa", "Circle of Life", "/dir/index.html", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", 1, request)
		if err != nil || got.Response != c.response {
			t.Errorf("%v: %q, %v; want %q", c.algorithm, got.Response, err, c.response)
		}
		read, err := digest.ParseCredentials(got.String())
		if err != nil || read != got {
			t.Errorf("%v: %q reads as %+v, %v", c.algorithm, got, read, err)
		}
		if !read.Proves("Circle of Life", request) || read.Proves("circle of life", request) {
			t.Errorf("%v: the password is not what decides", c.algorithm)
		}
	}
}

// "implementers should assume that the hash of the entity-body resolves to the hash of an empty string when the entity-body is empty"
// (RFC 8760 §2.6).
func TestAuthIntCoversTheBody(t *testing.T) {
	chal := digest.Challenge{Realm: "r", Nonce: "n", Algorithm: digest.SHA256, AuthInt: true}
	empty, err := digest.Answer(chal, "u", "p", "sip:x@example.net", "c", 1, digest.Request{Method: "MESSAGE"})
	if err != nil || !empty.Integrity {
		t.Fatalf("%+v, %v", empty, err)
	}
	if !empty.Proves("p", digest.Request{Method: "MESSAGE", Body: []byte{}}) {
		t.Error("no body and an empty body differ")
	}
	for _, r := range []digest.Request{{Method: "MESSAGE", Body: []byte("x")}, {Method: "SUBSCRIBE"}} {
		if empty.Proves("p", r) {
			t.Errorf("also proves %+v", r)
		}
	}
}

func TestParseCredentials(t *testing.T) {
	const good = `Digest username="alice",realm="example.net",nonce="n",uri="sip:bob@example.com",response="00112233445566778899aabbccddeeff",` +
		`algorithm=MD5,cnonce="c",qop=auth,nc=00000001`
	for _, c := range []struct{ name, from, to, rule string }{
		{name: "as it is"},
		{name: "spaces", from: ",realm=", to: " ,\t realm = "},
		{name: "an escape", from: `"alice"`, to: `"al\ice"`},
		{name: "lower case scheme", from: "Digest", to: "digest"},
		{name: "unknown parameter", from: "nc=", to: `x=y,nc=`},
		{"Basic", "Digest", "Basic", "scheme"},
		{"a parameter twice", `realm="example.net"`, `realm="example.net",realm="example.org"`, "twice"},
		{"a parameter twice, in other case", `realm="example.net"`, `realm="example.net",REALM="example.org"`, "twice"},
		{"unquoted uri", `"sip:bob@example.com"`, `sip-bob`, "incomplete"},
		{"no qop", ",qop=auth", "", "incomplete"},
		{"qop unknown", "qop=auth", "qop=auth-conf", "incomplete"},
		{"no cnonce", `,cnonce="c"`, "", "incomplete"},
		{"nc zero", "00000001", "00000000", "incomplete"},
		{"nc short", "00000001", "1", "nc"},
		{"nc quoted", "00000001", `"00000001"`, "nc"},
		{"nc signed", "00000001", "+0000001", "nc"},
		{"no username", `username="alice",`, "", "incomplete"},
		{"open quote", `"alice"`, `"alice`, "comma"},
		{"NUL", "alice", "ali\x00ce", "control"},
		{"bad UTF-8", "alice", "ali\xffce", "UTF-8"},
		{"trailing comma", "nc=00000001", "nc=00000001,", "name"},
		{"long value", "alice", strings.Repeat("a", 1025), "1024"},
		{"many parameters", "nc=", strings.Repeat("x=y,", 0) + manyParams() + "nc=", "24"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := digest.ParseCredentials(strings.Replace(good, c.from, c.to, 1))
			var syntax *digest.SyntaxError
			switch {
			case c.rule == "":
				if err != nil || got.Username != "alice" || got.Realm != "example.net" || got.URI != "sip:bob@example.com" || got.Count != 1 {
					t.Errorf("%+v, %v", got, err)
				}
			case c.rule == "incomplete":
				if !errors.Is(err, digest.ErrIncomplete) {
					t.Errorf("%v", err)
				}
			case !errors.As(err, &syntax) || !strings.Contains(syntax.Rule, c.rule) || syntax.Section == "":
				t.Errorf("%v, want a rule on %s", err, c.rule)
			}
		})
	}
}

func manyParams() string {
	var b strings.Builder
	for i := range 24 {
		fmt.Fprintf(&b, "p%d=v,", i)
	}
	return b.String()
}

// "it SHOULD use the topmost header field that it supports", "The client MUST ignore any challenge it does not understand" (RFC 8760
// §2.4); MD5 only where the configuration allows it.
func TestChoose(t *testing.T) {
	chal := func(algorithm, realm string) string {
		return `Digest realm="` + realm + `", nonce="` + algorithm + `", qop="auth", algorithm=` + algorithm
	}
	for _, c := range []struct {
		name   string
		values []string
		md5    bool
		nonce  string
	}{
		{"the topmost", []string{chal("SHA-512-256", "r"), chal("SHA-256", "r"), chal("MD5", "r")}, true, "SHA-512-256"},
		{"unknown ones are passed over", []string{chal("SHA-1024", "r"), "Basic realm=\"r\"", "Digest ", chal("SHA-256", "r")}, false, "SHA-256"},
		{"a session variant is passed over", []string{chal("SHA-256-sess", "r"), chal("SHA-256", "r")}, false, "SHA-256"},
		{"MD5 is not allowed", []string{chal("MD5", "r")}, false, ""},
		{"no algorithm is MD5", []string{`Digest realm="r", nonce="x"`}, false, ""},
		{"MD5 is allowed", []string{chal("MD5", "r")}, true, "MD5"},
		{"another realm (S7)", []string{chal("SHA-256", "elsewhere")}, true, ""},
		{"no challenge", nil, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := digest.Choose(c.values, "r", c.md5)
			if ok != (c.nonce != "") || got.Nonce != c.nonce {
				t.Errorf("%+v, %v", got, ok)
			}
		})
	}
}

func TestAnswerToAnOldServer(t *testing.T) {
	chal, err := digest.ParseChallenge(`Digest realm="r", nonce="n"`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := digest.Answer(chal, "u", "p", "sip:x@example.net", "c", 7, digest.Request{Method: "MESSAGE"})
	if err != nil || strings.Contains(got.String(), "qop") || strings.Contains(got.String(), "nc=") {
		t.Errorf("%q, %v", got, err)
	}
}

// What a challenge holds goes into a header of ours: a control in it must not (S6).
func TestAnswerRefusesControls(t *testing.T) {
	if _, err := digest.Answer(digest.Challenge{Realm: "r\r\nX: y", Nonce: "n", Algorithm: digest.SHA256, Auth: true}, "u", "p", "sip:x", "c", 1, digest.Request{}); err == nil {
		t.Error("taken")
	}
}

// T-CP-02: an answer that is replayed proves nothing.
func TestNonces(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	n := digest.NewNonces(5*time.Minute, 2)
	a := n.Issue("r", "", now)
	if got := n.Check(a, "r", now); got != digest.Fresh {
		t.Fatalf("new: %v", got)
	}
	for name, bad := range map[string]string{"another realm": a, "cut": a[:len(a)-1], "longer": a + "A", "none": "", "no base64": strings.Repeat("!", len(a)), "changed": string(a[0]^1) + a[1:]} {
		realm := "r"
		if name == "another realm" {
			realm = "s"
		}
		if bad == a && realm == "r" {
			t.Fatal(name)
		}
		if got := n.Check(bad, realm, now); got != digest.Forged {
			t.Errorf("%s: %v", name, got)
		}
	}
	if digest.NewNonces(5*time.Minute, 2).Check(a, "r", now) != digest.Forged {
		t.Error("a nonce of another server")
	}
	if got := n.Check(a, "r", now.Add(5*time.Minute+1)); got != digest.Stale {
		t.Errorf("old: %v", got)
	}
	for i, c := range []struct {
		count uint32
		want  digest.Verdict
	}{{1, digest.Fresh}, {1, digest.Forged}, {3, digest.Fresh}, {2, digest.Fresh}, {2, digest.Forged}, {100, digest.Fresh}, {99, digest.Fresh}, {36, digest.Forged}, {37, digest.Fresh}, {100, digest.Forged}} {
		if got := n.Use(a, "r", c.count, now); got != c.want {
			t.Errorf("%d: count %d: %v, want %v", i, c.count, got, c.want)
		}
	}
	// The table is bounded; what was forgotten is challenged again, never taken twice.
	now = now.Add(time.Second)
	for range 20 {
		if got := n.Use(n.Issue("r", "", now), "r", 1, now); got != digest.Fresh {
			t.Fatalf("a new one: %v", got)
		}
		now = now.Add(time.Second)
	}
	if got := n.Use(a, "r", 1, now); got != digest.Stale {
		t.Errorf("forgotten: %v, want stale", got)
	}
	// After a time without load, what is fresh stays fresh.
	now = now.Add(time.Hour)
	b := n.Issue("r", "", now)
	n.Use(n.Issue("r", "", now), "r", 1, now)
	if got := n.Use(b, "r", 1, now); got != digest.Fresh {
		t.Errorf("unused: %v", got)
	}
}

// No request is taken twice, however many nonces are used at one moment of a coarse clock, and whatever is forgotten meanwhile (S7).
func TestNoncesAtOneMoment(t *testing.T) {
	now := time.Now()
	n := digest.NewNonces(5*time.Minute, 2)
	var all []string
	for range 12 {
		nonce := n.Issue("r", "", now)
		if n.Use(nonce, "r", 1, now) == digest.Fresh {
			all = append(all, nonce)
		}
		for _, used := range all {
			if n.Use(used, "r", 1, now) == digest.Fresh {
				t.Fatalf("a count was taken twice, after %d nonces", len(all))
			}
		}
	}
	// What was issued and used before the clock of the wall was set back, and then forgotten, is not taken again either.
	n = digest.NewNonces(time.Hour, 1)
	early := time.Now()
	nonce := n.Issue("r", "", early)
	n.Use(nonce, "r", 1, early)
	for i := range 4 {
		later := early.Add(time.Duration(i+1) * time.Second)
		n.Use(n.Issue("r", "", later), "r", 1, later)
	}
	if got := n.Use(nonce, "r", 1, early.Add(5*time.Second)); got == digest.Fresh {
		t.Error("a count was taken twice after it was forgotten")
	}
}

// T-FZ-04.
// What parses prints, and parses to the same.
func FuzzCredentials(f *testing.F) {
	f.Add(`Digest username="alice",realm="example.net",nonce="n",uri="sip:bob@example.com",response="0",algorithm=SHA-256,cnonce="c",qop=auth-int,nc=0000000a`)
	f.Add(`digest username="a\"b\\",realm="",nonce="",uri="",response="",cnonce=c,qop="auth",nc=ffffffff`)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := digest.ParseCredentials(s)
		if err != nil {
			return
		}
		// An algorithm that is not spoken has no name; it prints as none, which is MD5.
		if c.Algorithm == 0 {
			c.Algorithm = digest.MD5
		}
		got, err := digest.ParseCredentials(c.String())
		if err != nil || got != c {
			t.Fatalf("%q prints as %q, which is %+v, %v", s, c.String(), got, err)
		}
	})
}

// T-FZ-04.
// What parses prints, and parses to the same; and is answered by one line of text.
func FuzzChallenge(f *testing.F) {
	f.Add(`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf", opaque="FQhe", stale=TRUE, domain="x"`)
	f.Add(`Digest realm="", nonce=""`)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := digest.ParseChallenge(s)
		if err != nil {
			return
		}
		if c.Algorithm == 0 {
			c.Algorithm = digest.MD5
		}
		got, err := digest.ParseChallenge(c.String())
		if err != nil || got != c {
			t.Fatalf("%q prints as %q, which is %+v, %v", s, c.String(), got, err)
		}
		a, err := digest.Answer(c, "u", "p", "sip:x@example.net", "c", 1, digest.Request{Method: "MESSAGE"})
		if err == nil && strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Fatalf("%q is answered by %q", s, a.String())
		}
	})
}

func BenchmarkProves(b *testing.B) {
	r := digest.Request{Method: "MESSAGE", Body: []byte("hello")}
	chal := digest.Challenge{Realm: "example.net", Nonce: "n", Algorithm: digest.SHA256, Auth: true}
	c, err := digest.Answer(chal, "alice", "secret", "sip:bob@example.com", "c", 1, r)
	if err != nil {
		b.Fatal(err)
	}
	line := c.String()
	b.ReportAllocs()
	for b.Loop() {
		got, err := digest.ParseCredentials(line)
		if err != nil || !got.Proves("secret", r) {
			b.Fatal(err)
		}
	}
}
