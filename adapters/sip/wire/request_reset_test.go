package wire

import (
	"strings"
	"testing"
)

// A Request that is used again has nothing of what was in it, and what it was asked to write before it was reset stays as it was.
func TestRequestReset(t *testing.T) {
	uri := func(user string) URISpec { return URISpec{User: user, Host: "example.net"} }
	r := new(Request)
	set := func(to, from, tag string) error { return r.SetAddresses(uri(to), uri(from), uri(to), "", tag) }
	if err := set("romeo", "juliet", "one"); err != nil {
		t.Fatal(err)
	}
	first := [3]string{r.URI, r.From, r.To}
	if err := set("romeo", "juliet", "not a token"); err == nil || r.URI != first[0] || r.From != first[1] || r.To != first[2] {
		t.Errorf("%v, and %+v", err, r)
	}
	if err := set("tybalt", "mercutio", "two"); err != nil {
		t.Fatal(err)
	}
	if want := [3]string{"sip:romeo@example.net", "<sip:juliet@example.net>;tag=one", "<sip:romeo@example.net>"}; first != want {
		t.Errorf("what was written first became %q", first)
	}
	r.Method, r.CSeq, r.Body, r.BranchHint, r.MaxForwards = "MESSAGE", 7, []byte("x"), "hint", 3
	r.Headers = append(r.Headers, Header{"Subject", "a"})
	r.Reset()
	if r.Method+r.URI+r.From+r.To+r.CallID+r.ContentType+r.BranchHint != "" || r.CSeq != 0 || r.MaxForwards != 0 || r.Body != nil || len(r.Headers) != 0 {
		t.Errorf("%+v is left", r)
	}
	if h := r.Headers[:cap(r.Headers)]; len(h) > 0 && h[0] != (Header{}) {
		t.Errorf("%+v is kept", h[0])
	}
	if _, ok := r.FromTag(); ok {
		t.Error("it still has a From")
	}
	if err := set("nurse", "peter", "three"); err != nil {
		t.Fatal(err)
	}
	r.Method, r.CallID = "MESSAGE", "c"
	b, err := AppendRequest(nil, r, ViaSpec{Transport: "UDP", SentBy: "a.example", Branch: "z9hG4bKa"})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := Parse(b, Limits{}); err != nil || m.RequestURIText() != "sip:nurse@example.net" || m.From().Tag() != "three" || m.To().URI().User() != "nurse" {
		t.Errorf("%v\n%s", err, b)
	}
	r.Headers = make([]Header, 1, 2*maxKept)
	r.Reset()
	if cap(r.Headers) > maxKept {
		t.Error("many header fields are kept")
	}
	if err := set(strings.Repeat("a", 500), strings.Repeat("b", 500), "x"); err != nil {
		t.Fatal(err)
	}
	if r.Reset(); cap(r.room) > maxRoom {
		t.Error("long addresses are kept")
	}
}

// A request that lacks an address is refused: whether it was new, or was used before.
func TestRequestWithoutAddress(t *testing.T) {
	uri := URISpec{User: "romeo", Host: "example.net"}
	for name, without := range map[string]func(*Request){
		"nothing":     func(r *Request) { r.Reset() },
		"Request-URI": func(r *Request) { r.URI = "" },
		"From":        func(r *Request) { r.From = "" },
		"To":          func(r *Request) { r.To = "" },
		"all, and new": func(r *Request) {
			*r = Request{}
		},
	} {
		r := new(Request)
		if err := r.SetAddresses(uri, uri, uri, "", "x"); err != nil {
			t.Fatal(err)
		}
		without(r)
		r.Method, r.CallID = "MESSAGE", "c"
		if b, err := AppendRequest(nil, r, ViaSpec{Transport: "UDP", SentBy: "a.example", Branch: "z9hG4bKa"}); err == nil || len(b) != 0 {
			t.Errorf("without %s: %v, %q", name, err, b)
		}
	}
}
