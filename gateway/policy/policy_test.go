package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim"
)

func party(t testing.TB, list ...string) []Party {
	t.Helper()
	var ps []Party
	for _, s := range list {
		p, err := ParseParty(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

// T-ID-06: who may send what to whom, by peer, domains, addresses and operation; the first rule that fits counts, and without one the answer
// is no.
func TestT_ID_06_Decide(t *testing.T) {
	p, err := New(Config{
		Rules: []Rule{
			{Name: "nobody bothers the prince", To: party(t, "im:prince@example.net"), Refuse: true, Operations: Messages},
			{Name: "partners", Peers: []string{"prosody", "trunk"}, From: party(t, "example.com", "*.example.org"), To: party(t, "example.net")},
			{Name: "presence of one", From: party(t, "im:nurse@verona.example"), To: party(t, "*"), Operations: Presence},
			{Name: "not from below", From: party(t, "*.verona.example"), Refuse: true},
			{Name: "home", From: party(t, "example.net", "other.example"), To: party(t, "example.com", "*.example.org", "im:friar@cell.example")},
		},
		Tenants: []Tenant{{Name: "a", Domains: party(t, "a.example", "*.a.example")}, {Name: "b", Domains: party(t, "b.example")}},
		Blocked: party(t, "im:tybalt@example.com", "*.spam.example", "bad.example"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, peer, from, to string
		op                   Operations
		by                   string
		cause                Cause
	}{
		{"allowed by domain", "prosody", "im:juliet@example.com", "im:romeo@example.net", Messages, "partners", ""},
		{"presence too", "prosody", "pres:juliet@example.com", "pres:romeo@example.net", Presence, "partners", ""},
		{"another peer", "other", "im:juliet@example.com", "im:romeo@example.net", Messages, "", CauseNoRule},
		{"below a domain", "trunk", "im:x@a.b.example.org", "im:romeo@example.net", Messages, "partners", ""},
		{"not the domain above", "trunk", "im:x@example.org", "im:romeo@example.net", Messages, "", CauseNoRule},
		{"not what only ends alike", "trunk", "im:x@badexample.org", "im:romeo@example.net", Messages, "", CauseNoRule},
		{"the first rule counts", "prosody", "im:juliet@example.com", "im:prince@example.net", Messages, "nobody bothers the prince", CauseRule},
		{"for its operation alone", "prosody", "pres:juliet@example.com", "pres:prince@example.net", Presence, "partners", ""},
		{"one address, by its presence", "x", "pres:nurse@verona.example", "pres:peter@example.net", Presence, "presence of one", ""},
		{"one address, another operation", "x", "im:nurse@verona.example", "im:peter@example.net", Messages, "", CauseNoRule},
		{"refused below", "prosody", "im:x@sub.verona.example", "im:romeo@example.net", Messages, "not from below", CauseRule},
		{"to an address", "x", "im:romeo@example.net", "im:friar@cell.example", Messages, "home", ""},
		{"to another address there", "x", "im:romeo@example.net", "im:john@cell.example", Messages, "", CauseNoRule},
		{"a rule with two domains", "x", "im:a@other.example", "im:juliet@example.com", Messages, "home", ""},
		{"blocked sender", "prosody", "im:tybalt@example.com", "im:romeo@example.net", Messages, "", CauseBlocked},
		{"blocked watcher", "prosody", "pres:tybalt@example.com", "pres:romeo@example.net", Presence, "", CauseBlocked},
		{"blocked recipient", "x", "im:romeo@example.net", "im:tybalt@example.com", Messages, "", CauseBlocked},
		{"blocked below", "x", "im:romeo@example.net", "im:x@y.spam.example", Messages, "", CauseBlocked},
		{"blocked domain", "x", "im:x@bad.example", "im:romeo@example.net", Messages, "", CauseBlocked},
		{"two tenants", "x", "im:x@a.example", "im:y@b.example", Messages, "", CauseTenant},
		{"two tenants, below", "x", "im:x@deep.a.example", "im:y@b.example", Presence, "", CauseTenant},
		{"within a tenant the rules count", "x", "im:x@a.example", "im:y@sub.a.example", Messages, "", CauseNoRule},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := p.Decide(Ask{Peer: c.peer, Operation: c.op, From: cpim.MustParseAddress(c.from), To: cpim.MustParseAddress(c.to)})
			if v.By != c.by || v.Cause != c.cause || v.Allowed != (c.cause == "") || v.Allowed != (v.Why == "") {
				t.Errorf("%+v, want by %q cause %q", v, c.by, c.cause)
			}
		})
	}
}

// Without rules the routes decide; tenants and blocks hold all the same.
func TestOpen(t *testing.T) {
	for name, p := range map[string]*Policy{"nil": nil, "empty": mustNew(t, Config{})} {
		v := p.Decide(Ask{Operation: Messages, From: cpim.MustParseAddress("im:a@x.example"), To: cpim.MustParseAddress("im:b@y.example")})
		if !v.Allowed || p.Bounds(v) != (Bounds{}) || p.Blocked(cpim.MustParseAddress("im:a@x.example")) || p.TenantOf(cpim.MustParseAddress("im:a@x.example")) != "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	p := mustNew(t, Config{Blocked: party(t, "x.example"), Tenants: []Tenant{{Name: "y", Domains: party(t, "y.example")}}})
	if v := p.Decide(Ask{Operation: Messages, From: cpim.MustParseAddress("im:a@x.example"), To: cpim.MustParseAddress("im:b@y.example")}); v.Cause != CauseBlocked {
		t.Errorf("%+v", v)
	}
	if v := p.Decide(Ask{Operation: Messages, From: cpim.MustParseAddress("im:a@z.example"), To: cpim.MustParseAddress("im:b@y.example")}); !v.Allowed {
		t.Errorf("%+v", v)
	}
	if got := p.TenantOf(cpim.MustParseAddress("im:b@y.example")); got != "y" {
		t.Errorf("tenant %q", got)
	}
}

func mustNew(t testing.TB, c Config) *Policy {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		c    Config
		want string
	}{
		{"a rule without a name", Config{Rules: []Rule{{}}}, "rule 1 has no name"},
		{"one name twice", Config{Rules: []Rule{{Name: "a"}, {Name: "a"}}}, `two rules are named "a"`},
		{"a negative bound", Config{Rules: []Rule{{Name: "a", Bounds: Bounds{NewContacts: -1}}}}, "negative bound"},
		{"bounds of what is refused", Config{Rules: []Rule{{Name: "a", Refuse: true, Bounds: Bounds{NewContacts: 1}}}}, "refuses, and has bounds"},
		{"a tenant without a name", Config{Tenants: []Tenant{{}}}, "tenant 1 has no name"},
		{"two tenants of a name", Config{Tenants: []Tenant{{Name: "a"}, {Name: "a"}}}, `two tenants are named "a"`},
		{"a negative bound of a tenant", Config{Tenants: []Tenant{{Name: "a", MessagesUnderWay: -1}}}, "negative bound"},
		{"a domain twice", Config{Tenants: []Tenant{{Name: "a", Domains: party(t, "x.example")}, {Name: "b", Domains: party(t, "x.example")}}}, `x.example belongs to tenant "a" and to "b"`},
		{"a tenant of an address", Config{Tenants: []Tenant{{Name: "a", Domains: party(t, "im:a@x.example")}}}, "is no domain"},
		{"a tenant of everybody", Config{Tenants: []Tenant{{Name: "a", Domains: party(t, "*")}}}, "is no domain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(c.c); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// The index finds what a look at every rule in order finds.
func TestIndexAgreesWithEveryRule(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	domains := []string{"a.example", "b.example", "x.a.example", "y.x.a.example", "example"}
	locals := []string{"u", "v"}
	some := func() []Party {
		var list []Party
		for range r.IntN(3) {
			d := domains[r.IntN(len(domains))]
			list = append(list, party(t, []string{"*", d, "*." + d, "im:" + locals[r.IntN(2)] + "@" + d}[r.IntN(4)])...)
		}
		return list
	}
	for range 2000 {
		var c Config
		for i := range r.IntN(12) {
			c.Rules = append(c.Rules, Rule{Name: fmt.Sprint(i), From: some(), To: some(), Refuse: r.IntN(2) == 0, Operations: Operations(r.IntN(4))})
		}
		p := mustNew(t, c)
		for range 10 {
			a := Ask{
				Operation: Messages,
				From:      cpim.MustParseAddress("im:" + locals[r.IntN(2)] + "@" + domains[r.IntN(len(domains))]),
				To:        cpim.MustParseAddress("im:" + locals[r.IntN(2)] + "@" + domains[r.IntN(len(domains))]),
			}
			want, cause := "", CauseNoRule
			if len(c.Rules) == 0 {
				cause = ""
			}
			in := func(list []Party, a cpim.Address) bool {
				for _, p := range list {
					if p.Has(a) {
						return true
					}
				}
				return len(list) == 0
			}
			for _, x := range c.Rules {
				if (x.Operations == 0 || x.Operations&Messages != 0) && in(x.From, a.From) && in(x.To, a.To) {
					if want, cause = x.Name, ""; x.Refuse {
						cause = CauseRule
					}
					break
				}
			}
			if v := p.Decide(a); v.By != want || v.Cause != cause {
				t.Fatalf("%v -> %v: %+v, want by %q cause %q\n%+v", a.From, a.To, v, want, cause, c.Rules)
			}
		}
	}
}

// Whatever is a party prints, and is read as the same.
func FuzzParseParty(f *testing.F) {
	for _, s := range []string{"*", "example.net", "*.example.net", "im:romeo@example.net", "pres:a%20b@x.example", "BÜCHER.example", "*.", "a@b", "im:", "*.*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseParty(s)
		if err != nil {
			return
		}
		again, err := ParseParty(p.String())
		if err != nil || again != p {
			t.Fatalf("%q is %q, which is %v, %v", s, p, again, err)
		}
	})
}

func TestReadBlocked(t *testing.T) {
	list, err := ReadBlocked("f", strings.NewReader("# spam\n\nbad.example\n  *.worse.example # since May\nim:tybalt@example.com\n"))
	if err != nil || len(list) != 3 || list[1].String() != "*.worse.example" {
		t.Errorf("%v, %v", list, err)
	}
	_, err = ReadBlocked("f", strings.NewReader("ok.example\n*\na@b.example\n192.0.2.1\n"))
	for _, want := range []string{"f:2: ", "f:3: ", "f:4: ", "would block everybody", `write "im:a@b.example"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err = ReadBlocked("f", strings.NewReader("ok.example\n"+strings.Repeat("x", 70_000))); err == nil || !strings.Contains(err.Error(), "f:2: ") {
		t.Errorf("%v", err)
	}
}

// What is decided for one domain does not cost more because there are rules for ten thousand others.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n, "rules"), func(b *testing.B) {
			var c Config
			for i := range n {
				c.Rules = append(c.Rules, Rule{Name: fmt.Sprint(i), From: party(b, fmt.Sprintf("d%d.example.net", i)), To: party(b, fmt.Sprintf("*.t%d.example", i))})
			}
			p := mustNew(b, c)
			a := Ask{
				Operation: Messages, From: cpim.MustParseAddress(fmt.Sprintf("im:a@d%d.example.net", n/2)),
				To: cpim.MustParseAddress(fmt.Sprintf("im:b@x.t%d.example", n/2)),
			}
			b.ReportAllocs()
			for b.Loop() {
				if !p.Decide(a).Allowed {
					b.Fatal("refused")
				}
			}
		})
	}
}
