package stanza_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// FuzzE2E_TFZ12: what <e2e/> holds is refused, or is an object that comes back from one more crossing in the same octets, as a message and as
// presence; and no presence document in clear is anybody's but the sender's.
func FuzzE2E_TFZ12(f *testing.F) {
	const juliet = "pres:juliet@example.com"
	cpim := "From: <im:juliet@example.com>\r\nTo: <im:romeo@example.net>\r\n\r\nContent-Type: text/plain\r\n\r\nx\r\n"
	for _, seed := range []string{
		sealedObject(juliet, "open"), strings.ReplaceAll(sealedObject(juliet, "closed"), "\r\n", "\n"), sealedObject("pres:nurse@example.com", "open"),
		signedParts("message/cpim", cpim), signedParts("text/plain", "x"), "\n  " + signedParts("message/cpim", cpim) + "  \n",
		"Content-Type: message/cpim\r\n\r\n" + strings.Replace(cpim, "text/plain", "application/pkcs7-mime", 1),
		"MIIBBgYJKoZIhvcNAQcDoIH4", "Content-Type: application/pkcs7-mime; smime-type=signed-data\nContent-Transfer-Encoding: base64\n\nMAA=\n",
		"Content-Type: multipart/signed; boundary=next;\n  micalg=sha1;\n  protocol=application/pkcs7-signature\n\n--next\n\nx\n--next\n\ny\n--next--\n", "", "\r", "\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range []string{"message", "presence"} {
			in := "<" + kind + " from='juliet@example.com/balcony' to='romeo@example.net'><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>"
			octets := append(strictxml.AppendText([]byte(in), string(text)), "</e2e></"+kind+">"...)
			first := objectOf(t, octets)
			if first == nil {
				continue
			}
			var out []byte
			var err error
			if kind == "message" {
				out, err = stanza.AppendMessage(nil, &adapters.MessageOp{
					From: party(julietIM, ""), To: party(romeoIM, ""), Content: first.content, Object: first.object,
				}, stanza.Envelope{ID: "i"})
			} else {
				first.notify.Watch = adapters.WatchID{Watcher: romeoP, Presentity: julietP}
				out, _, err = stanza.AppendNotify(nil, first.notify, time.Time{})
				if !stanza.CanSeal(first.notify) {
					continue
				}
			}
			if err != nil {
				continue // what cannot be written unchanged is refused
			}
			again := objectOf(t, out)
			if again == nil || !bytes.Equal(again.content.Octets, first.content.Octets) || !bytes.Equal(again.object, first.object) {
				t.Fatalf("%s: %q came back as %+v\n%s", kind, first.content.Octets, again, out)
			}
		}
	})
}

// crossed is what was in <e2e/>.
type crossed struct {
	content adapters.Content
	object  []byte
	notify  *adapters.NotifyOp
}

func objectOf(t *testing.T, octets []byte) *crossed {
	t.Helper()
	s, err := stanza.ReadAlone(octets, strictxml.Limits{})
	if err != nil {
		return nil
	}
	if s.Kind == stanza.Presence {
		op, e := stanza.ToNotify(s, time.Time{})
		if e != nil || op.Sealed == nil {
			return nil
		}
		return &crossed{content: *op.Sealed, notify: op}
	}
	op, e := stanza.ToMessage(s)
	if e != nil || op == nil || s.E2E == nil {
		return nil
	}
	return &crossed{content: op.Content, object: op.Object}
}

func BenchmarkE2E(b *testing.B) {
	for name, text := range map[string]string{
		"signed presence":    sealedStanza("", "", sealedObject("pres:juliet@example.com", "open")),
		"encrypted presence": sealedStanza("", "", "\nMIIBBgYJKoZIhvcNAQcDoIH4"+strings.Repeat("AAAA", 400)),
	} {
		b.Run(name, func(b *testing.B) {
			octets := []byte(text)
			b.ReportAllocs()
			b.SetBytes(int64(len(octets)))
			for b.Loop() {
				s, err := stanza.ReadAlone(octets, strictxml.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				op, e := stanza.ToNotify(s, time.Time{})
				if e != nil {
					b.Fatal(e)
				}
				if _, _, err := stanza.AppendNotify(nil, &adapters.NotifyOp{Watch: op.Watch, State: adapters.WatchActive, Presence: op.Presence, Sealed: op.Sealed}, time.Time{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// T-ID-02: what <e2e/> holds is from who sent the stanza, also for those who read the names of headers without regard to their letters or namespace.
func TestE2EOfTwoSenders_TID02(t *testing.T) {
	own := "From: <im:juliet@example.com>\r\nTo: <im:romeo@example.net>\r\n"
	for header, want := range map[string]bool{
		own:                                      true,
		"from: <im:nurse@example.com>\r\n" + own: false,
		own + "NS: <urn:x>\r\nFrom: <im:nurse@example.com>\r\n":          false,
		"NS: <urn:x>\r\nFrom: <im:nurse@example.com>\r\n":                false,
		own + "NS: x <urn:x>\r\nx.From: <im:nurse@example.com>\r\n":      true, // nobody's From
		"From: <im:nurse@example.com>\r\nTo: <im:romeo@example.net>\r\n": false,
	} {
		for _, object := range []string{
			signedParts("message/cpim", header+"\r\nContent-Type: text/plain\r\n\r\nx\r\n"),
			"Content-Type: message/cpim\r\n\r\n" + header + "\r\n" + signedParts("text/plain", "x"),
		} {
			in := "<message from='juliet@example.com/balcony' to='romeo@example.net'><e2e xmlns='urn:ietf:params:xml:ns:xmpp-e2e'>"
			s, err := stanza.ReadAlone(append(strictxml.AppendText([]byte(in), object), "</e2e></message>"...), strictxml.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if op, e := stanza.ToMessage(s); (e == nil && op != nil) != want {
				t.Errorf("%q: %+v, %v", object, op, e)
			}
		}
	}
}
