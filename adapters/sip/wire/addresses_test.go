package wire

import (
	"strings"
	"testing"
)

// What SetAddresses writes is what AppendURI and AppendAddr write, and a request with it is the one that a second look lets pass.
func TestSetAddresses(t *testing.T) {
	for _, v := range []struct {
		name          string
		uri, from, to URISpec
		display, tag  string
		refused       bool
	}{
		{name: "plain", uri: URISpec{User: "a", Host: "h.example"}, from: URISpec{User: "b", Host: "g.example"}, to: URISpec{User: "a", Host: "h.example"}, tag: "x"},
		{name: "no tag", uri: URISpec{User: "a", Host: "h.example"}, from: URISpec{User: "b", Host: "g.example"}, to: URISpec{User: "a", Host: "h.example"}},
		{
			name: "a device and a name", uri: URISpec{User: "a b>\r\n", Host: "h.example", Params: []Param{{Name: "gr", Value: "\";,\x00"}}},
			from: URISpec{User: "ü", Host: "[::1]", Port: 5070}, to: URISpec{User: "@", Host: "h.example"}, display: `He said "\"`, tag: "x",
		},
		{
			name: "a device of the recipient", uri: URISpec{User: "a", Host: "h", Params: []Param{{Name: "gr", Value: "x"}}},
			from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "h"}, tag: "x",
		},
		{name: "another user", uri: URISpec{User: "a", Host: "h"}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "c", Host: "h"}, tag: "x"},
		{name: "another host", uri: URISpec{User: "a", Host: "h"}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "i"}, tag: "x"},
		{name: "another port", uri: URISpec{User: "a", Host: "h", Port: 1}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "h"}, tag: "x"},
		{name: "another scheme", uri: URISpec{Scheme: "sips", User: "a", Host: "h"}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "h"}, tag: "x"},
		{name: "no host", uri: URISpec{User: "a"}, from: URISpec{User: "b", Host: "g.example"}, to: URISpec{User: "a", Host: "h.example"}, refused: true},
		{name: "a host with a line's end", uri: URISpec{User: "a", Host: "h"}, from: URISpec{User: "b", Host: "g\r\nX: y"}, to: URISpec{User: "a", Host: "h"}, refused: true},
		{name: "a bad recipient", uri: URISpec{User: "a", Host: "h"}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "h>"}, refused: true},
		{name: "a tag that is no token", uri: URISpec{User: "a", Host: "h"}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "h"}, tag: "x y", refused: true},
		{name: "a name with a line's end", uri: URISpec{User: "a", Host: "h"}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "h"}, display: "x\r\ny", refused: true},
		{name: "a name that is no UTF-8", uri: URISpec{User: "a", Host: "h"}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "h"}, display: "\xff", refused: true},
		{name: "too long", uri: URISpec{User: strings.Repeat("a", 1<<16), Host: "h"}, from: URISpec{User: "b", Host: "g"}, to: URISpec{User: "a", Host: "h"}, refused: true},
	} {
		t.Run(v.name, func(t *testing.T) {
			r := Request{Method: "MESSAGE", CallID: "c", CSeq: 1}
			if err := r.SetAddresses(v.uri, v.from, v.to, v.display, v.tag); (err != nil) != v.refused {
				t.Fatal(err)
			}
			if v.refused {
				if r.URI+r.From+r.To != "" {
					t.Errorf("%+v", r)
				}
				return
			}
			one := func(s URISpec) string {
				b, err := AppendURI(nil, s)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			if tag, ok := r.FromTag(); !ok || tag != v.tag {
				t.Errorf("the tag is %q", tag)
			}
			from, err := FormatAddr(AddrSpec{Display: v.display, URI: one(v.from), Tag: v.tag})
			if err != nil {
				t.Fatal(err)
			}
			to, err := FormatAddr(AddrSpec{URI: one(v.to)})
			if err != nil {
				t.Fatal(err)
			}
			plain := Request{Method: "MESSAGE", CallID: "c", CSeq: 1, URI: one(v.uri), From: from, To: to}
			if tag, ok := plain.FromTag(); !ok || tag != v.tag {
				t.Errorf("read, the tag is %q", tag)
			}
			via := ViaSpec{Transport: "UDP", SentBy: "h", Branch: "z9hG4bKx"}
			want, err := AppendRequest(nil, &plain, via)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := AppendRequest(nil, &r, via); err != nil || string(got) != string(want) {
				t.Errorf("%v\n%s\n%s", err, got, want)
			}
			// A field that was changed afterwards is looked at.
			for _, change := range []func(*Request){
				func(r *Request) { r.URI += "\r\n" },
				func(r *Request) { r.From = r.From[:len(r.From)-1] + "\n" },
				func(r *Request) { r.To += "\r\nX: y" },
			} {
				bad := r
				change(&bad)
				if b, err := AppendRequest(nil, &bad, via); err == nil {
					t.Errorf("it was written: %s", b)
				}
			}
		})
	}
}

// A From that is none has no tag.
func TestFromTagOfNone(t *testing.T) {
	for _, from := range []string{"", "<sip:a", "a b c"} {
		if tag, ok := (&Request{From: from}).FromTag(); ok {
			t.Errorf("%q has the tag %q", from, tag)
		}
	}
}

// Identifiers of many stocks differ from each other (RFC 3261 §19.3: "cryptographically random").
func TestRandomStock(t *testing.T) {
	seen := make(map[string]bool)
	for range 10_000 {
		tag := NewTag()
		if len(tag) != tagLength || seen[tag] {
			t.Fatalf("%q", tag)
		}
		seen[tag] = true
	}
}
