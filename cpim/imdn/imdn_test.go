package imdn

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/cpim/datetime"
)

const (
	open = `<imdn xmlns="urn:ietf:params:xml:ns:imdn">`
	head = open + "<message-id>34jk324j</message-id><datetime>2008-04-04T12:16:49-05:00</datetime>"
)

// report is a document with one notification.
func report(kind, status string) string {
	return head + "<" + kind + "-notification><status>" + status + "</status></" + kind + "-notification></imdn>"
}

func sent() datetime.Value { return datetime.MustParse("2008-04-04T12:16:49-05:00", datetime.CPIM) }

// Every example document of RFC 5438.
func TestPublishedExamples(t *testing.T) {
	files, err := filepath.Glob("../testdata/rfc/rfc5438-*.xml")
	if err != nil || len(files) != 5 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f := n.Fields()
		want := Fields{
			MessageID: "34jk324j", DateTime: sent(), RecipientURI: "im:bob@example.com", OriginalRecipientURI: "im:bob@example.com",
		}
		switch filepath.Base(name) {
		case "rfc5438-7.2.1.1.xml", "rfc5438-8.3-a.xml":
			want.Kind, want.Status = Delivery, Delivered
		case "rfc5438-7.2.1.2.xml", "rfc5438-8.3-b.xml":
			want.Kind, want.Status = Display, Displayed
		default:
			want.Kind, want.Status = Processing, Processed
		}
		if !reflect.DeepEqual(f, want) {
			t.Errorf("%s: %+v", name, f)
		}
		if string(n.Bytes()) != string(b) {
			t.Errorf("%s: octets changed", name)
		}
		roundTrip(t, n)
	}
}

// roundTrip checks that what was parsed prints, and parses to the same.
func roundTrip(t *testing.T, n *Notification) {
	t.Helper()
	out := n.Append(nil)
	again, err := Parse(out)
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if !reflect.DeepEqual(again.Fields(), n.Fields()) {
		t.Fatalf("%+v became %+v", n.Fields(), again.Fields())
	}
	if string(again.Append(nil)) != string(out) {
		t.Fatalf("%s prints as %s", out, again.Append(nil))
	}
	made, err := New(n.Fields())
	if err != nil {
		t.Fatalf("New(%+v): %v", n.Fields(), err)
	}
	if string(made.Bytes()) != string(out) {
		t.Fatalf("made %s, want %s", made.Bytes(), out)
	}
}

// Every kind with every status: read exactly if RFC 5438 §11.1.7 has the pair.
func TestEveryStatus(t *testing.T) {
	allowed := map[Kind]string{
		Delivery:   "delivered failed forbidden error",
		Display:    "displayed forbidden error",
		Processing: "processed stored forbidden error",
	}
	for kind, list := range allowed {
		for st := Delivered; st <= Error; st++ {
			want := strings.Contains(" "+list+" ", " "+st.String()+" ")
			n, err := Parse([]byte(report(kind.String(), "<"+st.String()+"/>")))
			if (err == nil) != want || kind.Valid(st) != want {
				t.Errorf("%v %v: %v", kind, st, err)
			}
			if err != nil {
				continue
			}
			if f := n.Fields(); f.Kind != kind || f.Status != st {
				t.Errorf("%v %v: %+v", kind, st, f)
			}
			roundTrip(t, n)
		}
	}
	if Other.Valid(Error) || !Other.Valid(Extended) || Other.String() != "other" || Extended.String() != "extended" {
		t.Error("other")
	}
}

func TestParse(t *testing.T) {
	ok := "<delivery-notification><status><delivered/></status></delivery-notification></imdn>"
	tests := []struct {
		name, in string
		want     func(f *Fields)
	}{
		{"without optional elements", head + ok, func(*Fields) {}},
		{
			"only original recipient", head + "<original-recipient-uri>im:a@b.c</original-recipient-uri>" + ok,
			func(f *Fields) { f.OriginalRecipientURI = "im:a@b.c" },
		},
		{"subject", head + "<subject>the weather &amp; co</subject>" + ok, func(f *Fields) { f.Subject = "the weather & co" }},
		{
			"subject with language", head + `<subject xml:lang="fr">beau temps</subject>` + ok,
			func(f *Fields) { f.Subject, f.SubjectLang = "beau temps", "fr" },
		},
		{"white space", strings.ReplaceAll(head, "34jk324j", " 34jk324j\n") + "\n" + ok + "\n", func(*Fields) {}},
		{"extension", head + ok[:len(ok)-7] + `<x xmlns="urn:x"/></imdn>`, func(f *Fields) { f.Extensions = []string{`<x xmlns="urn:x"/>`} }},
		{
			"status extension", head + `<delivery-notification><status><delivered/><x xmlns="urn:x"/></status></delivery-notification></imdn>`,
			func(f *Fields) { f.StatusExtensions = []string{`<x xmlns="urn:x"/>`} },
		},
		{
			"status of an extension", head + `<delivery-notification><status><x xmlns="urn:x"/></status></delivery-notification></imdn>`,
			func(f *Fields) { f.Status, f.StatusExtensions = Extended, []string{`<x xmlns="urn:x"/>`} },
		},
		{
			"notification of an extension", head + `<x xmlns="urn:x"/></imdn>`,
			func(f *Fields) { f.Kind, f.Status, f.Extensions = Other, Extended, []string{`<x xmlns="urn:x"/>`} },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := Parse([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			want := Fields{MessageID: "34jk324j", DateTime: sent(), Kind: Delivery, Status: Delivered}
			tt.want(&want)
			if f := n.Fields(); !reflect.DeepEqual(f, want) {
				t.Errorf("got %+v, want %+v", f, want)
			}
			roundTrip(t, n)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	good := report("delivery", "<delivered/>")
	change := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	tests := []struct{ name, in, rule string }{
		{"empty", "", "xml-"},
		{"comment", change("<datetime>", "<!-- x --><datetime>"), "xml-"},
		{"no namespace", change(` xmlns="urn:ietf:params:xml:ns:imdn"`, ""), "xml-root"},
		{"namespace of the headers", change("params:xml:ns:imdn", "params:imdn"), "xml-root"},
		{"no message-id", change("<message-id>34jk324j</message-id>", ""), "imdn-message-id"},
		{"empty message-id", change("34jk324j", ""), "imdn-message-id"},
		{"message-id is no token", change("34jk324j", "a b"), "imdn-message-id"},
		{"message-id with a line break", change("34jk324j", "a&#13;&#10;b"), "imdn-message-id"},
		{"no datetime", change("<datetime>2008-04-04T12:16:49-05:00</datetime>", ""), "imdn-datetime"},
		{"bad datetime", change("2008-04-04T", "2008-04-31T"), "date-mday"},
		{"order", change("<message-id>34jk324j</message-id><datetime>2008-04-04T12:16:49-05:00</datetime>",
			"<datetime>2008-04-04T12:16:49-05:00</datetime><message-id>34jk324j</message-id>"), "xml-order"},
		{"two message-ids", change("<datetime>", "<message-id>x</message-id><datetime>"), "xml-once"},
		{"recipient is no URI", change("<delivery-", "<recipient-uri>bob</recipient-uri><delivery-"), "imdn-uri"},
		{"recipient with a space", change("<delivery-", "<recipient-uri>im:b ob</recipient-uri><delivery-"), "imdn-uri"},
		{"empty recipient", change("<delivery-", "<recipient-uri/><delivery-"), "imdn-uri"},
		{"no notification", head + "</imdn>", "imdn-notification"},
		{"two notifications", change("</imdn>", "<display-notification><status><displayed/></status></display-notification></imdn>"), "imdn-notification"},
		{"no status", head + "<delivery-notification/></imdn>", "imdn-status"},
		{"empty status", report("delivery", ""), "imdn-status"},
		{"two statuses", report("delivery", "<delivered/><failed/>"), "imdn-status"},
		{"status twice", report("delivery", "<delivered/><delivered/>"), "xml-once"},
		{"unknown status", report("delivery", "<lost/>"), "xml-element"},
		{"status with content", report("delivery", "<delivered>x</delivered>"), "xml-text"},
		{"status with an element", report("delivery", `<delivered><x xmlns="urn:x"/></delivered>`), "xml-element"},
		{"text in the notification", change("<status>", "x<status>"), "xml-text"},
		{"unknown element", change("</imdn>", "<x/></imdn>"), "xml-element"},
		{"attribute", change("<status>", `<status a="b">`), "xml-attribute"},
		{"attribute on a value", change("<datetime>", `<datetime a="b">`), "xml-attribute"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := Parse([]byte(tt.in))
			var serr *SyntaxError
			if !errors.As(err, &serr) {
				t.Fatalf("accepted as %+v", n)
			}
			if serr.Rule != tt.rule && (tt.rule != "xml-" || !strings.HasPrefix(serr.Rule, "xml-")) {
				t.Errorf("got %v, want %s", serr, tt.rule)
			}
			if serr.Section == "" || serr.Offset < 0 || serr.Offset > len(tt.in) {
				t.Errorf("incomplete %#v", serr)
			}
		})
	}
}

// COMPAT(Jami): no namespace, no datetime.
func TestJami(t *testing.T) {
	in := []byte("<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n<imdn><message-id>17</message-id>\n<conversation>1f</conversation>" +
		"<display-notification><status><displayed/></status></display-notification></imdn>")
	if _, err := Parse(in); err == nil {
		t.Error("strictly accepted")
	}
	n, used, err := ParseLenient(in)
	if err != nil || strings.Join(used.Names(), ",") != "no-namespace,no-datetime" {
		t.Fatalf("%v, %v", used.Names(), err)
	}
	if f := n.Fields(); f.MessageID != "17" || f.Kind != Display || f.Status != Displayed || !f.DateTime.IsZero() {
		t.Errorf("%+v", f)
	}
	if _, used, err := ParseLenient([]byte(report("display", "<displayed/>"))); err != nil || used != 0 {
		t.Errorf("%v, %v", used.Names(), err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Fields{MessageID: "a", DateTime: sent(), Kind: Delivery, Status: Failed}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(f *Fields){
		"message-id":          func(f *Fields) { f.MessageID = "a\r\nb" },
		"no message-id":       func(f *Fields) { f.MessageID = "" },
		"no datetime":         func(f *Fields) { f.DateTime = datetime.Value{} },
		"lower-case datetime": func(f *Fields) { f.DateTime = datetime.MustParse("2008-04-04t12:16:49z", datetime.RFC3339) },
		"URI":                 func(f *Fields) { f.RecipientURI = "bob" },
		"URI with a break":    func(f *Fields) { f.OriginalRecipientURI = "im:a\r\nb" },
		"subject":             func(f *Fields) { f.Subject = "a\x00" },
		"subject with space":  func(f *Fields) { f.Subject = " a" },
		"language":            func(f *Fields) { f.Subject, f.SubjectLang = "a", "f r" },
		"language alone":      func(f *Fields) { f.SubjectLang = "fr" },
		"status":              func(f *Fields) { f.Status = Displayed },
		"kind":                func(f *Fields) { f.Kind = 9 },
		"no such status":      func(f *Fields) { f.Status = 99 },
		"extended":            func(f *Fields) { f.Status = Extended },
		"other":               func(f *Fields) { f.Kind, f.Status = Other, Extended },
		"extension":           func(f *Fields) { f.Extensions = []string{"<a xmlns='urn:x'>"} },
		"status extension":    func(f *Fields) { f.StatusExtensions = []string{"<failed/>"} },
	} {
		f := good
		change(&f)
		if n, err := New(f); err == nil {
			t.Errorf("%s: %s", name, n.Bytes())
		}
	}
}

// What is printed validates against the schema of RFC 5438 §11.1.9, as far as
// that has what the prose has.
func TestSchema(t *testing.T) {
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("xmllint is not installed (Debian: libxml2-utils)")
		}
		t.Skip("xmllint is not installed (Debian: libxml2-utils)")
	}
	schema := "testdata/rfc5438-imdn.rng"
	for kind := Delivery; kind <= Display; kind++ {
		for st := Delivered; st <= Error; st++ {
			if !kind.Valid(st) {
				continue
			}
			n, err := New(Fields{
				MessageID: "34jk324j", DateTime: sent(), RecipientURI: "im:bob@example.com", OriginalRecipientURI: "im:bob@example.com",
				Subject: "a & b", Kind: kind, Status: st,
				Extensions: []string{`<x xmlns="urn:x"/>`}, StatusExtensions: []string{`<y xmlns="urn:x"/>`},
			})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "doc.xml")
			if err := os.WriteFile(path, n.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(lint, "--noout", "--nonet", "--relaxng", schema, path).CombinedOutput(); err != nil {
				t.Errorf("%v %v: %v: %s", kind, st, err, out)
			}
		}
	}
}

// T-FZ-11: what parses prints and parses to the same, and has one disposition.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../testdata/rfc/rfc5438-*.xml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`<imdn><message-id>1</message-id><display-notification><status><displayed/></status></display-notification></imdn>`))
	f.Add([]byte(head + `<subject xml:lang="fr">a</subject><x xmlns="urn:x"/></imdn>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Parse(b)
		l, used, lerr := ParseLenient(b)
		if err != nil {
			var serr *SyntaxError
			if !errors.As(err, &serr) || serr.Rule == "" || serr.Section == "" || serr.Offset < 0 || serr.Offset > len(b) {
				t.Fatalf("%#v", err)
			}
			if lerr == nil && (used == 0 || l.Fields().MessageID == "") {
				t.Fatalf("leniently %+v with nothing used", l)
			}
			return
		}
		if lerr != nil || used != 0 {
			t.Fatalf("leniently %v, %v", used, lerr)
		}
		roundTrip(t, n)
	})
}

func BenchmarkParse(b *testing.B) {
	doc, err := os.ReadFile("../testdata/rfc/rfc5438-7.2.1.1.xml")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	n, err := New(Fields{MessageID: "34jk324j", DateTime: sent(), RecipientURI: "im:bob@example.com", Kind: Delivery, Status: Delivered})
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = n.Append(buf[:0])
	}
}
