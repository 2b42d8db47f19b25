package stream_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// serverScope is the scope of a stream between servers whose header declares dialback.
func serverScope() *strictxml.Scope { return (*script)(nil).scopeOfScript() }

// TestDialbackKey: the keys of the examples. "HMAC-SHA256( SHA256(Secret), { Receiving Server, ' ', Originating Server, ' ', Stream ID} )",
// and "The output of the SHA256 hashing algorithm MUST be provided in the hexadecimal representation" (XEP-0185 §2).
func TestDialbackKey(t *testing.T) {
	for _, c := range []struct{ secret, receiving, originating, id, key string }{
		{"s3cr3tf0rd14lb4ck", "xmpp.example.com", "example.org", "D60000229F", "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"},
		{"s3cr3tf0rd14lb4ck", "montague.example", "capulet.example", "D60000229F", "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3"},
		{"d14lb4ck43v3r", "capulet.example", "montague.example", "417GAF25", "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d"},
	} {
		if got := stream.DialbackKey([]byte(c.secret), c.receiving, c.originating, c.id); got != c.key {
			t.Errorf("%v: got %s", c, got)
		}
	}
}

// TestDialbackKeyX10: the fields are separated, so that no other pair and id have the key (CVE-2016-0756), and it is compared whole, in
// constant time (X14).
func TestDialbackKeyX10(t *testing.T) {
	secret := []byte("secret")
	key := stream.DialbackKey(secret, "example.info", "rm.example.org", "id")
	if !stream.CheckDialbackKey(key, secret, "example.info", "rm.example.org", "id") {
		t.Fatal("the right key was refused")
	}
	for name, ok := range map[string]bool{
		"fields moved":    stream.CheckDialbackKey(key, secret, "example.in", "form.example.org", "id"),
		"the other way":   stream.CheckDialbackKey(key, secret, "rm.example.org", "example.info", "id"),
		"another stream":  stream.CheckDialbackKey(key, secret, "example.info", "rm.example.org", "id2"),
		"another secret":  stream.CheckDialbackKey(key, []byte("secreu"), "example.info", "rm.example.org", "id"),
		"upper case":      stream.CheckDialbackKey(strings.ToUpper(key), secret, "example.info", "rm.example.org", "id"),
		"shorter":         stream.CheckDialbackKey(key[:63], secret, "example.info", "rm.example.org", "id"),
		"nothing":         stream.CheckDialbackKey("", secret, "example.info", "rm.example.org", "id"),
		"fields into one": stream.CheckDialbackKey(key, secret, "example.info", "rm.example.org id", ""),
	} {
		if ok {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestDialbackElements: every element of XEP-0220, read and written.
func TestDialbackElements(t *testing.T) {
	pair := stream.Dialback{From: "montague.example", To: "capulet.example"}
	with := func(f func(*stream.Dialback)) stream.Dialback {
		d := pair
		f(&d)
		return d
	}
	for _, c := range []struct {
		name, raw string
		want      stream.Dialback
	}{
		{
			"key (examples 1 and 9)", "<db:result\n from='montague.example'\n to='capulet.example'>\n  b4835385 \n</db:result>",
			with(func(d *stream.Dialback) { d.Kind, d.Key = stream.DialbackResult, "b4835385" }),
		},
		{
			"valid (2, 11)", "<db:result from='montague.example' to='capulet.example' type='valid'/>",
			with(func(d *stream.Dialback) { d.Kind, d.Type = stream.DialbackResult, stream.DialbackValid }),
		},
		{
			"invalid (3, 12)", "<db:result from='montague.example' to='capulet.example' type='invalid'/>",
			with(func(d *stream.Dialback) { d.Kind, d.Type = stream.DialbackResult, stream.DialbackInvalid }),
		},
		{
			"error (4, 10)", "<db:result from='montague.example' to='capulet.example' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
			with(func(d *stream.Dialback) {
				d.Kind, d.Type, d.Condition = stream.DialbackResult, stream.DialbackError, "item-not-found"
			}),
		},
		{
			"verify (5, 13)", "<db:verify from='montague.example' id='417GAF25' to='capulet.example'>225cc5aa</db:verify>",
			with(func(d *stream.Dialback) { d.Kind, d.ID, d.Key = stream.DialbackVerify, "417GAF25", "225cc5aa" }),
		},
		{
			"valid key (6, 15)", "<db:verify from='montague.example' id='417GAF25' to='capulet.example' type='valid'/>",
			with(func(d *stream.Dialback) {
				d.Kind, d.ID, d.Type = stream.DialbackVerify, "417GAF25", stream.DialbackValid
			}),
		},
		{
			"invalid key (7, 16)", "<db:verify from='montague.example' id='417GAF25' to='capulet.example' type='invalid'/>",
			with(func(d *stream.Dialback) {
				d.Kind, d.ID, d.Type = stream.DialbackVerify, "417GAF25", stream.DialbackInvalid
			}),
		},
		{
			"verify error (8, 14)", "<db:verify from='montague.example' id='417GAF25' to='capulet.example' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>",
			with(func(d *stream.Dialback) {
				d.Kind, d.ID, d.Type, d.Condition = stream.DialbackVerify, "417GAF25", stream.DialbackError, "item-not-found"
			}),
		},
		{
			"an old answer with text", "<db:result from='montague.example' to='capulet.example' type='valid'>k</db:result>",
			with(func(d *stream.Dialback) { d.Kind, d.Type = stream.DialbackResult, stream.DialbackValid }),
		},
		{
			"an unknown condition", "<db:result from='Montague.Example' to='capulet.example' type='error'><error><new xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
			with(func(d *stream.Dialback) {
				d.Kind, d.Type, d.Condition = stream.DialbackResult, stream.DialbackError, "undefined-condition"
			}),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok, err := stream.ReadDialback([]byte(c.raw), serverScope(), strictxml.Limits{})
			if !ok || err != nil || got != c.want {
				t.Fatalf("%+v, %v, %v", got, ok, err)
			}
			again, ok, err := stream.ReadDialback(stream.AppendDialback(nil, &got), serverScope(), strictxml.Limits{})
			if !ok || err != nil || again != got {
				t.Fatalf("printed %s, read %+v, %v", stream.AppendDialback(nil, &got), again, err)
			}
		})
	}
}

// TestDialbackRefused: elements of dialback that are not as XEP-0220 §2 has them.
func TestDialbackRefused(t *testing.T) {
	for name, c := range map[string]struct {
		raw       string
		condition stream.Condition
	}{
		"no from":          {"<db:result to='a.example'>k</db:result>", stream.ImproperAddressing},
		"no to":            {"<db:result from='a.example'>k</db:result>", stream.ImproperAddressing},
		"from a user":      {"<db:result from='u@a.example' to='b.example'>k</db:result>", stream.ImproperAddressing},
		"to no domain":     {"<db:verify from='a.example' to='b..example' id='1'>k</db:verify>", stream.ImproperAddressing},
		"no id":            {"<db:verify from='a.example' to='b.example'>k</db:verify>", stream.BadFormat},
		"a long id":        {"<db:verify from='a.example' to='b.example' id='" + strings.Repeat("x", 1025) + "'>k</db:verify>", stream.BadFormat},
		"no key":           {"<db:result from='a.example' to='b.example'> </db:result>", stream.BadFormat},
		"a long key":       {"<db:result from='a.example' to='b.example'>" + strings.Repeat("k", 1025) + "</db:result>", stream.BadFormat},
		"elements for key": {"<db:result from='a.example' to='b.example'>k<x/></db:result>", stream.BadFormat},
		"another type":     {"<db:result from='a.example' to='b.example' type='Valid'/>", stream.BadFormat},
		"an empty type":    {"<db:result from='a.example' to='b.example' type=''>k</db:result>", stream.BadFormat},
		"no error":         {"<db:result from='a.example' to='b.example' type='error'/>", stream.BadFormat},
		"no condition":     {"<db:result from='a.example' to='b.example' type='error'><error/></db:result>", stream.BadFormat},
	} {
		_, ok, err := stream.ReadDialback([]byte(c.raw), serverScope(), strictxml.Limits{})
		var f *stream.Fault
		if !ok || !errors.As(err, &f) || f.Condition != c.condition || stream.ConditionOf(err) != c.condition {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	for _, raw := range []string{"<result from='a.example' to='b.example'>k</result>", "<db:x/>", "<message/>"} {
		if _, ok, err := stream.ReadDialback([]byte(raw), serverScope(), strictxml.Limits{}); ok || err != nil {
			t.Errorf("%s: %v, %v", raw, ok, err)
		}
	}
	if _, ok, err := stream.ReadDialback([]byte("<db:result>"), serverScope(), strictxml.Limits{}); ok || !syntax(err) {
		t.Errorf("half an element: %v, %v", ok, err)
	}
}

// T-FZ-20, what is read of the wire.
// FuzzDialback: what is read prints, and reads as the same; addresses are domains.
func FuzzDialback(f *testing.F) {
	for _, s := range []string{
		"<db:result from='a.example' to='b.example'>key</db:result>", "<db:verify from='a.example' to='b.example' id='&apos;'>&lt;</db:verify>",
		"<db:result from='A.example.' to='[::1]' type='error'><error><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
		"<db:verify from='a.example' to='xn--bcher-kva.example' id=' ' type='valid'/>", "<message/>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, ok, err := stream.ReadDialback(raw, serverScope(), strictxml.Limits{})
		if !ok || err != nil {
			return
		}
		printed := stream.AppendDialback(nil, &d)
		if again, ok, err := stream.ReadDialback(printed, serverScope(), strictxml.Limits{}); !ok || err != nil || again != d {
			t.Fatalf("%q: printed %s, read %+v, %v", raw, printed, again, err)
		}
		if strings.ContainsAny(d.From+d.To, "@/ <'&") || d.From == "" || d.To == "" {
			t.Fatalf("%+v", d)
		}
	})
}

func BenchmarkReadDialback(b *testing.B) {
	raw, scope := []byte("<db:verify from='capulet.example' id='417GAF25' to='montague.example'>225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d</db:verify>"), serverScope()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := stream.ReadDialback(raw, scope, strictxml.Limits{}); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendDialback(b *testing.B) {
	d := stream.Dialback{Kind: stream.DialbackVerify, From: "a.example", To: "b.example", ID: "1", Key: "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d"}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = stream.AppendDialback(dst[:0], &d)
	}
}

func BenchmarkDialbackKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		stream.DialbackKey([]byte("secret"), "a.example", "b.example", "id")
	}
}
