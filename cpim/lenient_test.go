package cpim

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	plainContent = "\r\nContent-Type: text/plain\r\n\r\nhi"
	fromA        = "From: <im:a@example.com>\r\n"
)

// Each known fault of a product, in that product's form: refused by the strict
// reader, read by the lenient one with exactly that fault reported, and refused
// by the lenient one if that fault is not allowed.
func TestLeniencies(t *testing.T) {
	tests := []struct {
		name  string
		fault Leniency
		in    string
		check func(t *testing.T, m *Message)
	}{
		{
			"liblinphone: MIME header of the object", OuterHeaders,
			"Content-type: Message/CPIM\r\n\r\n" + fromA + plainContent, nil,
		},
		{
			"Blink and SylkServer: space after a quoted name", QuotedNameSpace,
			"From: \"Alice Liddell\" <sip:alice@example.com>\r\n" + plainContent,
			func(t *testing.T, m *Message) {
				if f, _ := m.From(); f.Name() != "Alice Liddell" {
					t.Errorf("name %q", f.Name())
				}
			},
		},
		{
			"ZTE RCS IM server: no space before the bracket", NameWithoutSpace,
			"From: +8613957854053<sip:+8613957854053@example.com>\r\n" + plainContent,
			func(t *testing.T, m *Message) {
				if f, _ := m.From(); f.Name() != "+8613957854053" || f.URI() != "sip:+8613957854053@example.com" {
					t.Errorf("%+v", f)
				}
			},
		},
		{
			"python-sipsimple 0.x: display name as it is", UnquotedName,
			"From: Alice (work) <sip:alice@example.com>\r\n" + plainContent,
			func(t *testing.T, m *Message) {
				f, _ := m.From()
				if f.Name() != "Alice (work)" || f.String() != `"Alice (work)"<sip:alice@example.com>` {
					t.Errorf("%+v %s", f, f)
				}
			},
		},
		{
			"Orange RCS store: a number alone", BareNumber,
			"From: +33642575779\r\nTo: +33640332859\r\n" + plainContent,
			func(t *testing.T, m *Message) {
				if f, _ := m.From(); f.URI() != "tel:+33642575779" || f.Name() != "" {
					t.Errorf("%+v", f)
				}
			},
		},
		{
			"ZTE RCS IM server: no blank line before the content headers", JoinedContentHeaders,
			fromA + "NS: imdn<urn:ietf:params:imdn>\r\nimdn.Message-ID: JNdcbW81u48Qavgc\r\n" +
				"Content-type: text/plain;charset=UTF-8\r\nContent-length: 2\r\n\r\nHj",
			func(t *testing.T, m *Message) {
				if string(m.Content().Body()) != "Hj" || m.HeaderCount() != 3 {
					t.Errorf("%q, %d headers", m.Content().Body(), m.HeaderCount())
				}
			},
		},
		{
			"CPM-serv/OMA2.2: two spaces after the colon", ExtraSpace,
			fromA + "NS: imdn<urn:ietf:params:imdn>\r\nimdn.Disposition-Notification:  display, interworking\r\n" + plainContent,
			func(t *testing.T, m *Message) {
				if v := m.Header(2).Value; string(v) != "display, interworking" {
					t.Errorf("%q", v)
				}
			},
		},
		{
			"Orange RCS store: imdn without NS", UndeclaredIMDN,
			fromA + "imdn.Message-ID: 1443517760826\r\n" + plainContent,
			func(t *testing.T, m *Message) {
				if ns := m.Header(1).Namespace; string(ns) != "urn:ietf:params:imdn" {
					t.Errorf("%q", ns)
				}
			},
		},
	}
	var all Leniency
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all |= tt.fault
			in := []byte(tt.in)
			if _, err := ParseMessage(in, Limits{}); err == nil {
				t.Error("the strict reader accepts it")
			}
			if _, _, err := ParseMessageLenient(in, Limits{}, AllLeniencies&^tt.fault); err == nil {
				t.Error("accepted though not allowed")
			}
			m, used, err := ParseMessageLenient(in, Limits{}, AllLeniencies)
			if err != nil || used != tt.fault {
				t.Fatalf("used %v, %v", used.Names(), err)
			}
			if _, ok := m.From(); !ok || !bytes.Equal(m.Bytes(), in) {
				t.Error("From is lost, or octets changed")
			}
			if len(used.Names()) != 1 || len(used.Products()) != 1 {
				t.Errorf("names %q of %q", used.Names(), used.Products())
			}
			if tt.check != nil {
				tt.check(t, m)
			}
		})
	}
	if all != AllLeniencies {
		t.Errorf("untested: %v", (AllLeniencies &^ all).Names())
	}
}

// A strict message needs no leniency.
func TestLenientNeedsNothing(t *testing.T) {
	m, used, err := ParseMessageLenient([]byte(typicalMessage), Limits{}, AllLeniencies)
	if err != nil || used != 0 || m.HeaderCount() != 7 {
		t.Fatalf("%v, %v", used.Names(), err)
	}
}

// The examples of RFC 5438, all faulty, can be read, but for the one that is
// strictly right and means something else (see knownFaults).
func TestLenientPublishedExamples(t *testing.T) {
	for name, want := range map[string][]string{
		"rfc5438-7.1.1.3":              {"joined-content-headers"},
		"rfc5438-7.2.1.1":              {"joined-content-headers"},
		"rfc5438-7.2.1.2":              {"joined-content-headers"},
		"rfc5438-8.1":                  {"joined-content-headers"},
		"rfc5438-8.3":                  {"joined-content-headers"},
		"rfc3862-5.1-with-mime-header": {"outer-headers"},
	} {
		b, err := os.ReadFile("testdata/rfc/" + name + ".cpim")
		if err != nil {
			t.Fatal(err)
		}
		m, used, err := ParseMessageLenient(b, Limits{}, AllLeniencies)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := used.Names(); !slices.Equal(got, want) {
			t.Errorf("%s: used %s, want %s", name, strings.Join(got, ","), strings.Join(want, ","))
		}
		if f, ok := m.From(); !ok || f.URI() == "" {
			t.Errorf("%s: no From", name)
		}
	}
}
