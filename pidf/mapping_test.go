package pidf

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// T-CP-05: resources "1", "a b", emoji: a stable and injective id.
func TestTupleID(t *testing.T) {
	for _, c := range []struct{ resource, id string }{
		{"yn0cl4bnw0yr3vym", "ID-yn0cl4bnw0yr3vym"}, // RFC 8048 §6.2, example 18
		{"dr4hcr0st3lup4c", "ID-dr4hcr0st3lup4c"},
		{"1", "ID-1"},
		{"a b", "ID-a_20_b"},
		{"😀", "ID-_1f600_"},
		{"", "ID-"},
		{"_", "ID-_5f_"},
		{"_20_", "ID-_5f_20_5f_"},
		{"Müller", "ID-M_fc_ller"},
		{"a/b@c:d", "ID-a_2f_b_40_c_3a_d"},
		{"\x00\n<\">", "ID-_0__a__3c__22__3e_"},
		{"\xff", "ID-_zff_"},
		{"ID-x", "ID-ID-x"},
		{"-.", "ID--."},
	} {
		id := TupleID(c.resource)
		if id.String() != c.id {
			t.Errorf("%q gives %s, want %s", c.resource, id, c.id)
		}
		if _, err := ParseID(id.String()); err != nil {
			t.Errorf("%q gives %s: %v", c.resource, id, err)
		}
		if back, ok := id.Resource(); !ok || back != c.resource {
			t.Errorf("%s gives back %q, %v", id, back, ok)
		}
	}
	long := strings.Repeat("😀", 255) // 1020 octets; RFC 7622 §3.4 allows 1023
	if id, err := ParseID(TupleID(long).String()); err != nil {
		t.Error(err)
	} else if back, ok := id.Resource(); !ok || back != long {
		t.Error("a long resource does not come back")
	}
	for _, foreign := range []string{"bs35r9", "id-x", "ID", "ID-_", "ID-a_b", "ID-_020_", "ID-_61_", "ID-_2D_", "ID-_z41_", "ID-_d800_", "ID-_110000_", "ID-ü"} {
		if resource, ok := MustParseID(foreign).Resource(); ok {
			t.Errorf("%s, which TupleID never gives, is resource %q", foreign, resource)
		}
	}
}

func TestTupleIDProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-c_0-9 ]{0,12}`), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }))
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		x, y := TupleID(a), TupleID(b)
		if !validNCName(x.s) {
			t.Fatalf("%q is no NCName", x)
		}
		if back, ok := x.Resource(); !ok || back != a {
			t.Fatalf("%q came back as %q", a, back)
		}
		if (x == y) != (a == b) {
			t.Fatalf("%q and %q: %s and %s", a, b, x, y)
		}
	})
}

// RFC 8048 §6.2 note 6: "If the value of the XMPP <priority/> element is negative, an XMPP-to-SIP gateway MUST NOT map the value."
func TestPriorityMapping(t *testing.T) {
	seen := map[int]bool{}
	for p := -128; p <= 127; p++ {
		q, mapped := PriorityFromXMPP(int8(p))
		if mapped != (p >= 0) {
			t.Fatalf("%d: mapped is %v", p, mapped)
		}
		if !mapped {
			if q.IsSet() {
				t.Fatalf("%d gives %s", p, q)
			}
			continue
		}
		if seen[q.Milli()] {
			t.Errorf("%d: %s is not unique", p, q)
		}
		seen[q.Milli()] = true
		if back, ok := q.XMPP(); !ok || int(back) != p {
			t.Errorf("%d gives %s gives %d", p, q, back)
		}
		if parsed, err := ParsePriority(q.String()); err != nil || parsed != q {
			t.Errorf("%s: %v", q, err)
		}
	}
	// "XMPP priority 1 to PIDF priority 0.007, XMPP priority 2 to PIDF priority 0.015, and so on up through mapping XMPP priority
	// 126 to PIDF priority 0.992", 0 to 0 and 127 to 1; and 13 to 0.102 in RFC 3922 §5.1.7.
	for p, want := range map[int8]string{0: "0", 1: "0.007", 2: "0.015", 13: "0.102", 126: "0.992", 127: "1"} {
		if q, _ := PriorityFromXMPP(p); q.String() != want {
			t.Errorf("%d gives %s, want %s", p, q, want)
		}
	}
	// Every PIDF priority has an XMPP priority in range, and a higher one never a lower.
	last := int8(0)
	for m := 0; m <= 1000; m++ {
		p, ok := PriorityFromMilli(m)
		x, mapped := p.XMPP()
		if !ok || !mapped || x < last || x < 0 {
			t.Fatalf("%s gives %d after %d", p, x, last)
		}
		if q, err := ParsePriority(p.String()); err != nil || q != p || q.Milli() != m {
			t.Fatalf("%d prints %s: %v", m, p, err)
		}
		last = x
	}
	if _, ok := PriorityFromMilli(1001); ok {
		t.Error("1001 thousandths")
	}
	if _, mapped := (Priority{}).XMPP(); mapped {
		t.Error("no priority is mapped")
	}
}

func TestPrioritySpelling(t *testing.T) {
	for _, s := range []string{"0", "0.", "0.0", "0.00", "0.000", "0.5", "0.50", "0.500", "0.021", "1", "1.", "1.0", "1.00", "1.000"} {
		p, err := ParsePriority(s)
		if err != nil || p.String() != s {
			t.Errorf("%q prints %q: %v", s, p, err)
		}
	}
	if MustParsePriority("0.5").Compare(MustParsePriority("0.500")) != 0 || MustParsePriority("0.5") == MustParsePriority("0.500") {
		t.Error("0.5 and 0.500 are of one rank and two spellings")
	}
	// "If the 'priority' attribute is omitted, applications MUST assign the contact address the lowest priority."
	if (Priority{}).Compare(MustParsePriority("0.001")) >= 0 || (Priority{}).Compare(MustParsePriority("0")) != 0 {
		t.Error("no priority is not the lowest")
	}
}

func TestReadShow(t *testing.T) {
	for _, c := range []struct {
		name, status, rest string
		show               Show
		source             ShowSource
	}{
		{"RFC 8048", `<basic>open</basic><show xmlns="jabber:client">xa</show>`, "", ShowXA, ShowFromClient},
		{"closed", `<basic>closed</basic><show xmlns="jabber:client">xa</show>`, "", ShowNone, ShowFromNothing},
		{"nothing", `<basic>open</basic>`, "", ShowNone, ShowFromNothing},
		// COMPAT(Blink, all): the values of its status menu.
		{"Blink available", `<basic>open</basic><e xmlns="urn:ag-projects:xml:ns:pidf" />`, "", ShowNone, ShowFromNothing},
		{"Blink busy", `<basic>open</basic><a:extended xmlns:a="urn:ag-projects:xml:ns:pidf">busy</a:extended>`, "", ShowDND, ShowFromBlink},
		{"Blink away", `<basic>open</basic><a:extended xmlns:a="urn:ag-projects:xml:ns:pidf">away</a:extended>`, "", ShowAway, ShowFromBlink},
		{"Blink idle", `<basic>open</basic><a:extended xmlns:a="urn:ag-projects:xml:ns:pidf">extended-away</a:extended>`, "", ShowXA, ShowFromBlink},
		{"SylkServer available", `<basic>open</basic><a:extended xmlns:a="urn:ag-projects:xml:ns:pidf">available</a:extended>`, `<dm:person id="p"><r:activities><r:busy/></r:activities></dm:person>`, ShowNone, ShowFromBlink},
		{"RFC 8048 first", `<basic>open</basic><a:extended xmlns:a="urn:ag-projects:xml:ns:pidf">away</a:extended><show xmlns="jabber:client">dnd</show>`, "", ShowDND, ShowFromClient},
		{"RFC 3922 away", `<basic>open</basic><im:im xmlns:im="urn:ietf:params:xml:ns:pidf:im">away</im:im>`, "", ShowAway, ShowFromIM},
		{"RFC 3922 busy", `<basic>open</basic><im:im xmlns:im="urn:ietf:params:xml:ns:pidf:im">busy</im:im>`, "", ShowDND, ShowFromIM},
		{"must understand", `<basic>open</basic><im:im xmlns:im="urn:ietf:params:xml:ns:pidf:im">busy<x:y xmlns:x="u:x" p:mustUnderstand="1"/></im:im>`, "", ShowNone, ShowFromNothing},
		{"RPID", `<basic>open</basic>`, `<dm:person id="p"><r:activities><r:away/><r:on-the-phone/></r:activities></dm:person>`, ShowDND, ShowFromRPID},
		{"RPID in the tuple's shadow", `<basic>open</basic>`, `<dm:person id="p"><r:activities><r:working/></r:activities></dm:person>`, ShowNone, ShowFromNothing},
		{"eyeBeam", `<basic>open</basic>`, `<pp:person xmlns:pp="urn:ietf:params:xml:ns:pidf:person" xmlns:ep="urn:ietf:params:xml:ns:pidf:rpid:rpid-person"><s:status xmlns:s="urn:ietf:params:xml:ns:pidf"><ep:activities><ep:busy/></ep:activities></s:status></pp:person>`, ShowDND, ShowFromEyebeam},
		{"eyeBeam as text", `<basic>open</basic>`, `<pp:person xmlns:pp="urn:ietf:params:xml:ns:pidf:person" xmlns:ep="urn:ietf:params:xml:ns:pidf:rpid:rpid-person"><status><ep:activities>ep:away</ep:activities></status></pp:person>`, ShowAway, ShowFromEyebeam},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse([]byte(xmlDeclaration + `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:a@b"><tuple id="t"><status>` +
				c.status + `</status></tuple>` + c.rest + `</presence>`))
			if err != nil {
				t.Fatal(err)
			}
			if show, source := ReadShow(p, &p.Tuples[0]); show != c.show || source != c.source {
				t.Errorf("%s from %s, want %s from %s", show, source, c.show, c.source)
			}
		})
	}
}

// T-CP-07. RFC 3863 §4.3.3: "<myex:ex1> must be understood and, if it is not recognized, <myex:complexExtension> MUST be ignored."
func TestMustUnderstand(t *testing.T) {
	x := func(inner string) Extension {
		return MustParseExtension(`<m:c xmlns:m="u:m" xmlns:p="urn:ietf:params:xml:ns:pidf">` + inner + `</m:c>`)
	}
	recognize := func(names ...string) func(Name) bool {
		return func(n Name) bool {
			for _, name := range names {
				if n == (Name{"u:m", name}) {
					return true
				}
			}
			return false
		}
	}
	for _, c := range []struct {
		name, inner string
		recognized  func(Name) bool
		want        bool
	}{
		{"nothing marked", `<m:a/><m:b/>`, recognize("c"), true},
		{"the element itself unknown", ``, recognize("a"), false},
		{"nil", ``, nil, false},
		{"marked and unknown", `<m:a p:mustUnderstand="1"/><m:b/>`, recognize("c", "b"), false},
		{"marked and known", `<m:a p:mustUnderstand="1"/><m:b/>`, recognize("c", "a"), true},
		{"true", `<m:a p:mustUnderstand="true"/>`, recognize("c"), false},
		{"false", `<m:a p:mustUnderstand="false"/><m:a p:mustUnderstand="0"/>`, recognize("c"), true},
		{"another namespace's attribute", `<m:a m:mustUnderstand="1"/><m:a mustUnderstand="1"/>`, recognize("c"), true},
		// "a mustUnderstand='true' or mustUnderstand='1' attribute within an element that is being ignored is itself ignored"
		{"within an ignored element", `<m:b><m:a p:mustUnderstand="1"/></m:b>`, recognize("c"), true},
		{"deep", `<m:b><m:a p:mustUnderstand="1"/></m:b>`, recognize("c", "b"), false},
	} {
		if got := x(c.inner).MayProcess(c.recognized); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
