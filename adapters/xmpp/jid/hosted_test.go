package jid_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// hosted is the mapping of the tests.
func hosted() *jid.Hosted {
	return jid.NewHosted("gw.example.com", []string{"example.net", "xn--bcher-kva.example"})
}

// TestHosted: the address as XMPP users see it.
func TestHosted(t *testing.T) {
	for _, c := range []struct{ in, jid string }{
		{"im:romeo@example.net", `romeo\40example.net@gw.example.com`},
		{"im:o'malley@example.net", `o\27malley\40example.net@gw.example.com`},
		{"im:a%40b@example.net", `a\40b\40example.net@gw.example.com`},
		{`im:a%5C40b@example.net`, `a\5c40b\40example.net@gw.example.com`},
		{"im:romeo@xn--bcher-kva.example", `romeo\40xn--bcher-kva.example@gw.example.com`},
		{"im:romeo@example.org", ""},                             // of no domain that is written so
		{"im:romeo@gw.example.com", ""},                          // the host has no users of its own
		{"im:romeo@x.example.net", ""},                           // nor has a domain below
		{"im:" + strings.Repeat("a", 1012) + "@example.net", ""}, // too long with the domain
	} {
		a := cpim.MustParseAddress(c.in)
		out, err := hosted().Out(a)
		var j jid.JID
		if err == nil {
			j, err = jid.FromAddress(out, "")
		}
		if (err != nil) != (c.jid == "") || err == nil && j.String() != c.jid {
			t.Errorf("%s is %s, %v", c.in, j, err)
			continue
		}
		if err != nil {
			continue
		}
		back, err := jid.ToAddress(jid.MustParse(c.jid), cpim.IM)
		if err == nil {
			back, err = hosted().In(back)
		}
		if err != nil || back != a {
			t.Errorf("%s is %s, %v", c.jid, back, err)
		}
	}
	for _, s := range []string{
		"romeo@gw.example.com", `romeo\40example.org@gw.example.com`, `\40example.net@gw.example.com`, `romeo\40example.net@other.example`, `romeo\40@gw.example.com`,
		`romeo\40EXAMPLE.net.@gw.example.com`, `romeo\40b\u00fccher.example@gw.example.com`, `romeo\40gw.example.com@gw.example.com`, `x\40example.net\40example.org@gw.example.com`,
	} {
		j, err := jid.Parse(s)
		if err != nil {
			continue
		}
		if a, err := jid.ToAddress(j, cpim.IM); err == nil {
			if in, err := hosted().In(a); err == nil {
				t.Errorf("%s is %s", s, in)
			}
		}
	}
	var none *jid.Hosted
	a := cpim.MustParseAddress("im:romeo@example.net")
	if out, err := none.Out(a); err != nil || out != a || none.Hosts("example.net") {
		t.Error(out, err)
	}
}

// TestHostedTID05: map(a) = map(b) means a = b, and back(map(a)) = a, or it is refused, over local parts rich in escapes.
func TestHostedTID05(t *testing.T) {
	h := hosted()
	seen := map[jid.JID]cpim.Address{}
	each := func(local string) {
		for _, d := range []string{"example.net", "xn--bcher-kva.example"} {
			a, err := cpim.NewAddress(cpim.IM, local, d)
			if err != nil {
				continue
			}
			j, ok := wire(h, a)
			if !ok {
				continue
			}
			if other, taken := seen[j]; taken && other != a {
				t.Fatalf("%v and %v are both %v", other, a, j)
			}
			seen[j] = a
			if back, err := unwire(h, j); err != nil || back != a {
				t.Fatalf("%v is %v is %v, %v", a, j, back, err)
			}
		}
	}
	for x := range 0x7f {
		each(string(rune(x)))
		for y := range 0x7f {
			each(string([]rune{rune(x), rune(y)}))
		}
	}
	if len(seen) < 9000 {
		t.Errorf("only %d addresses were tried", len(seen))
	}
	local := rapid.StringOfN(rapid.SampledFrom([]rune(`ab4025c\@ '"&/:<>é%.`)), 1, 12, -1)
	domain := rapid.SampledFrom([]string{"example.net", "xn--bcher-kva.example"})
	rapid.Check(t, func(t *rapid.T) {
		a, err1 := cpim.NewAddress(cpim.IM, local.Draw(t, "a"), domain.Draw(t, "of a"))
		b, err2 := cpim.NewAddress(cpim.IM, local.Draw(t, "b"), domain.Draw(t, "of b"))
		if err1 != nil || err2 != nil {
			return
		}
		ja, ok := wire(h, a)
		jb, also := wire(h, b)
		if ok && also && ja == jb && a != b {
			t.Fatalf("%v and %v are both %v", a, b, ja)
		}
		if !ok {
			return
		}
		if back, err := unwire(h, ja); err != nil || back != a {
			t.Fatalf("%v is %v is %v, %v", a, ja, back, err)
		}
	})
}

func wire(h *jid.Hosted, a cpim.Address) (jid.JID, bool) {
	out, err := h.Out(a)
	if err != nil {
		return jid.JID{}, false
	}
	j, err := jid.FromAddress(out, "")
	return j, err == nil
}

func unwire(h *jid.Hosted, j jid.JID) (cpim.Address, error) {
	a, err := jid.ToAddress(j, cpim.IM)
	if err != nil {
		return a, err
	}
	return h.In(a)
}

// FuzzHostedTID05: whatever JID comes for the host is nobody's or somebody's who is written so.
func FuzzHostedTID05(f *testing.F) {
	f.Add(`romeo\40example.net`)
	f.Add(`a\5c40b\40example.net`)
	f.Add(`a\40b\40xn--bcher-kva.example`)
	f.Fuzz(func(t *testing.T, local string) {
		h := hosted()
		j, err := jid.New(jid.Parts{Local: local, Domain: "gw.example.com"})
		if err != nil || local == "" {
			return
		}
		a, err := unwire(h, j)
		if err != nil {
			return
		}
		if !h.Hosts(a.Domain()) {
			t.Fatalf("%v is %v", j, a)
		}
		if back, ok := wire(h, a); !ok || back != j {
			t.Fatalf("%v is %v is %v", j, a, back)
		}
	})
}
