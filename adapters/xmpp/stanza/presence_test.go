package stanza_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim/datetime"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// TestPresenceLanguage: "Content-Language" and "xml:lang" are mapped both ways (RFC 8048 §6.2 Table 1, §6.3 Table 2).
func TestPresenceLanguage(t *testing.T) {
	op, e := stanza.ToNotify(read(t, "<presence from='juliet@example.com/x' to='romeo@example.net' xml:lang='cs'><status>ano</status><status xml:lang='en'>yes</status></presence>"), time.Time{})
	if e != nil || op.Language != "cs" || len(op.Presence.Tuples[0].Notes) != 2 || op.Presence.Tuples[0].Notes[0].Lang != "cs" || op.Presence.Tuples[0].Notes[1].Lang != "en" {
		t.Fatalf("%+v, %v", op, e)
	}
	doc := &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net"), Tuples: []pidf.Tuple{{
		ID: pidf.MustParseID("a"), Status: pidf.Status{Basic: pidf.BasicOpen}, Notes: []pidf.Note{{Text: "ano"}, {Lang: "CS", Text: "twice"}, {Lang: "en", Text: "yes"}},
	}}}
	for lang, want := range map[string]string{
		"cs":     "<presence from='romeo@example.net/a' to='juliet@example.com' xml:lang='cs'><status>ano</status><status xml:lang='en'>yes</status></presence>",
		"cs, en": "<presence from='romeo@example.net/a' to='juliet@example.com'><status>ano</status><status xml:lang='CS'>twice</status><status xml:lang='en'>yes</status></presence>",
	} {
		got, _, err := stanza.AppendNotify(nil, &adapters.NotifyOp{Watch: adapters.WatchID{Watcher: julietP, Presentity: romeoP}, State: adapters.WatchActive, Presence: doc, Language: lang}, time.Time{})
		if err != nil || string(got) != want {
			t.Errorf("%s, %v\nwant %s", got, err, want)
		}
	}
}

// TestPresenceDelay: a status that was said long ago is told as one (XEP-0203), a new one is not.
func TestPresenceDelay(t *testing.T) {
	at := datetime.FromTime(time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC))
	doc := &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net"), Tuples: []pidf.Tuple{{ID: pidf.MustParseID("a"), Status: pidf.Status{Basic: pidf.BasicOpen}, Timestamp: at}}}
	op := &adapters.NotifyOp{Watch: adapters.WatchID{Watcher: julietP, Presentity: romeoP}, State: adapters.WatchActive, Presence: doc}
	for _, c := range []struct {
		name string
		now  time.Time
		want string
	}{
		{"an hour ago", at.Time().Add(time.Hour), "><delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/></presence>"},
		{"now", at.Time().Add(time.Second), "/>"},
		{"in the future", at.Time().Add(-time.Hour), "/>"},
		{"nobody knows", time.Time{}, "/>"},
	} {
		got, _, err := stanza.AppendNotify(nil, op, c.now)
		if want := "<presence from='romeo@example.net/a' to='juliet@example.com'" + c.want; err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", c.name, got, err)
		}
		if s := read(t, string(got)); strings.Contains(c.want, "delay") && !s.Delay.Equal(at.Time().Truncate(time.Second)) {
			t.Errorf("%s: read as %v", c.name, s.Delay)
		}
	}
}

// TestWatcherName: "a subscription request ... SHOULD include the preferred nickname of the sender", and "the nickname MUST NOT be included
// in presence broadcasts" (XEP-0172 §4.1).
func TestWatcherName(t *testing.T) {
	op, e := stanza.ToWatch(read(t, "<presence from='juliet@example.com' to='romeo@example.net' type='subscribe' xml:lang='en'><status>It is I</status><nick xmlns='http://jabber.org/protocol/nick'>Juliet</nick></presence>"))
	if e != nil || op.WatcherName != "Juliet" || op.Note != "It is I" || op.NoteLang != "en" {
		t.Fatalf("%+v, %v", op, e)
	}
	watch := adapters.WatchOp{Verb: adapters.WatchAsk, Watch: adapters.WatchID{Watcher: romeoP, Presentity: julietP}, WatcherName: "Romeo", Note: "Let me in", NoteLang: "en"}
	got, err := stanza.AppendWatch(nil, &watch, "")
	if want := "<presence from='romeo@example.net' to='juliet@example.com' type='subscribe'><status xml:lang='en'>Let me in</status><nick xmlns='http://jabber.org/protocol/nick'>Romeo</nick></presence>"; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	watch.Verb = adapters.WatchOpen
	got, err = stanza.AppendWatch(nil, &watch, "")
	if want := "<presence from='romeo@example.net' to='juliet@example.com' type='probe'/>"; err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

// resources returns the resource that each tuple's stanza is from.
func resources(t *testing.T, ids, withdrawn []pidf.ID) []string {
	t.Helper()
	doc := &pidf.Presence{Entity: pidf.MustParseURI("pres:romeo@example.net")}
	for _, id := range ids {
		doc.Tuples = append(doc.Tuples, pidf.Tuple{ID: id, Status: pidf.Status{Basic: pidf.BasicOpen}})
	}
	out, n, err := stanza.AppendNotify(nil, &adapters.NotifyOp{
		Watch: adapters.WatchID{Watcher: julietP, Presentity: romeoP}, State: adapters.WatchActive, Presence: doc, Withdrawn: withdrawn,
	}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := strictxml.ParseDocument([]byte("<r xmlns='jabber:component:accept'>"+string(out)+"</r>"), strictxml.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for c := range root.Children() {
		from, _ := c.Attr("", "from")
		_, resource, _ := strings.Cut(from, "/")
		all = append(all, resource)
	}
	if len(all) != n {
		t.Fatalf("%d stanzas, said to be %d", len(all), n)
	}
	return all
}

// TestTupleResources: each tuple is a device of its own, whatever its id, and is withdrawn by the same name.
func TestTupleResources(t *testing.T) {
	long, tooLong := strings.Repeat("a", 1024), strings.Repeat("\u00e9", 600)
	ids := []pidf.ID{
		pidf.TupleID("phone"), pidf.MustParseID("phone"), pidf.MustParseID("ID-phone2"), pidf.TupleID("id:x"), pidf.TupleID("a b"), pidf.MustParseID("ID-_2_"),
		pidf.MustParseID("e\u0301"), pidf.MustParseID("\u00e9"), pidf.MustParseID("\u3042\u1100"), pidf.MustParseID("_"), pidf.TupleID("ID-phone"),
	}
	got := resources(t, ids, nil)
	seen := map[string]pidf.ID{}
	for i, r := range got {
		if other, ok := seen[r]; ok {
			t.Errorf("%v and %v are both %q", other, ids[i], r)
		}
		seen[r] = ids[i]
		// And back: the escape stands for one id.
		if rest, ok := strings.CutPrefix(r, "id:"); ok {
			if back, err := url.PathUnescape(rest); err != nil || back != ids[i].String() {
				t.Errorf("%q is %q, want %q", r, back, ids[i])
			}
		}
	}
	if len(got) != len(ids) {
		t.Errorf("%d of %d tuples", len(got), len(ids))
	}
	for i, want := range []string{"phone", "id:phone", "phone2", "id:ID-id_3a_x", "a b"} {
		if got[i] != want {
			t.Errorf("%v is %q, want %q", ids[i], got[i], want)
		}
	}
	if got := resources(t, ids[:1], ids[1:2]); got[0] != "id:phone" || got[1] != "phone" {
		t.Errorf("withdrawn as %q", got)
	}
	// No escape makes room.
	if got := resources(t, []pidf.ID{pidf.MustParseID(long), pidf.MustParseID(tooLong), ids[0]}, nil); len(got) != 1 {
		t.Errorf("%d", len(got))
	}
}

// FuzzTupleResourceTID05: two tuples never have one resource: map(a) = map(b) => a = b.
func FuzzTupleResourceTID05(f *testing.F) {
	f.Add("a", "ID-a")
	f.Add("id", "ID-id_3a_id")
	f.Add("e\u0301", "\u00e9")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err1 := pidf.ParseID(a)
		y, err2 := pidf.ParseID(b)
		if err1 != nil || err2 != nil || x == y {
			return
		}
		if got := resources(t, []pidf.ID{x, y}, nil); len(got) == 2 && got[0] == got[1] {
			t.Fatalf("%q and %q are both %q", a, b, got[0])
		}
	})
}

// TestCaps: what a presence says of capabilities, if it can be checked.
func TestCaps(t *testing.T) {
	for _, c := range []struct {
		name, in  string
		want      stanza.Caps
		checkable bool
	}{
		{"exodus", "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://code.google.com/p/exodus' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>", stanza.Caps{Hash: "sha-1", Node: "http://code.google.com/p/exodus", Ver: "QgayPKawpkPSDYmwT/WM94uAlu0="}, true},
		{"legacy", "<c xmlns='http://jabber.org/protocol/caps' node='http://psi-im.org/caps' ver='0.11' ext='a b'/>", stanza.Caps{}, false},
		{"unknown hash", "<c xmlns='http://jabber.org/protocol/caps' hash='md2' node='n' ver='v'/>", stanza.Caps{Hash: "md2", Node: "n", Ver: "v"}, false},
		{"too long", "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='" + strings.Repeat("n", 513) + "' ver='v'/>", stanza.Caps{}, false},
		{"other namespace", "<c xmlns='urn:x' hash='sha-1' node='n' ver='v'/>", stanza.Caps{}, false},
	} {
		s := read(t, "<presence from='juliet@example.com/x' to='romeo@example.net'>"+c.in+"</presence>")
		if s.Caps != c.want || s.Caps.Checkable() != c.checkable {
			t.Errorf("%s: %+v", c.name, s.Caps)
		}
	}
}

const (
	exodus = "<identity category='client' name='Exodus 0.9.1' type='pc'/><feature var='http://jabber.org/protocol/muc'/><feature var='http://jabber.org/protocol/caps'/>" +
		"<feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/disco#items'/>"
	psi = "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/><identity xml:lang='el' category='client' name='\u03a8 0.11' type='pc'/>" +
		"<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>" +
		"<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>" +
		"<field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field><field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>" +
		"<field var='software'><value>Psi</value></field><field var='software_version'><value>0.11</value></field></x>"
	noForm = "<x xmlns='jabber:x:data' type='result'><field var='a'><value>b</value></field></x>"
)

// TestCapsVerify: the examples of XEP-0115 §5.2 and §5.3, and "if the response includes more than one ..., consider the entire response to
// be ill-formed" (§5.4).
func TestCapsVerify(t *testing.T) {
	const sha1Exodus, sha1Psi = "QgayPKawpkPSDYmwT/WM94uAlu0=", "q07IKJEyjvHSyhy//CH0CxmKi8w="
	for _, c := range []struct {
		name, in, ver string
		want          bool
	}{
		{"§5.2", exodus, sha1Exodus, true},
		{"§5.3", psi, sha1Psi, true},
		{"a form without FORM_TYPE is ignored", psi + noForm, sha1Psi, true},
		{"another hash", exodus, sha1Psi, false},
		{"one feature more", exodus + "<feature var='urn:x'/>", sha1Exodus, false},
		{"a feature twice", exodus + "<feature var='http://jabber.org/protocol/muc'/>", sha1Exodus, false},
		{"an identity twice", exodus + "<identity category='client' name='Exodus 0.9.1' type='pc'/>", sha1Exodus, false},
		{"a form twice", psi + psi[strings.Index(psi, "<x "):], sha1Psi, false},
		{"two features in one", strings.ReplaceAll(exodus, "caps'/><feature var='", "caps&lt;"), sha1Exodus, false},
		{"two parts of an identity in one", strings.Replace(exodus, "category='client' name='Exodus 0.9.1' type='pc'", "category='client/pc/' name='Exodus 0.9.1' type=''", 1), sha1Exodus, false},
		{"nothing", "", sha1Exodus, false},
		{"too much", exodus + strings.Repeat("<feature var='x'/>", 600), sha1Exodus, false},
	} {
		s := read(t, "<iq from='juliet@example.com/x' to='romeo@example.net' id='1' type='result'><query xmlns='http://jabber.org/protocol/disco#info'>"+c.in+"</query></iq>")
		info := s.Info()
		if got := info != nil && info.Verify(stanza.Caps{Hash: "sha-1", Node: "n", Ver: c.ver}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	for _, in := range []string{
		"<iq from='juliet@example.com/x' to='romeo@example.net' id='1' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
		"<iq from='juliet@example.com/x' to='romeo@example.net' id='1' type='result'/>", "<message from='juliet@example.com/x' to='romeo@example.net'/>",
		"<iq from='juliet@example.com/x' to='romeo@example.net' id='1' type='error'><query xmlns='http://jabber.org/protocol/disco#info'/><error type='cancel'/></iq>",
	} {
		if read(t, in).Info() != nil {
			t.Error(in)
		}
	}
}

// FuzzCapsTFZ19: whatever an answer holds, it is checked in bounded time and without a fault, and only by its own hash.
func FuzzCapsTFZ19(f *testing.F) {
	f.Add([]byte(exodus), "QgayPKawpkPSDYmwT/WM94uAlu0=")
	f.Add([]byte(psi), "q07IKJEyjvHSyhy//CH0CxmKi8w=")
	f.Fuzz(func(t *testing.T, in []byte, ver string) {
		raw := "<iq from='juliet@example.com/x' to='romeo@example.net' id='1' type='result'><query xmlns='http://jabber.org/protocol/disco#info'>" + string(in) + "</query></iq>"
		s, err := stanza.NewReader(stanza.SpaceComponent, strictxml.Limits{}).Read([]byte(raw), componentScope(t))
		if err != nil {
			return
		}
		info := s.Info()
		if info != nil && info.Verify(stanza.Caps{Hash: "sha-256", Node: "n", Ver: ver}) && info.Verify(stanza.Caps{Hash: "sha-1", Node: "n", Ver: ver}) {
			t.Fatal("one text is the hash of two functions")
		}
	})
}
