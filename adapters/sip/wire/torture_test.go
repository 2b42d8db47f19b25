package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// verdict is what Parse must say of a torture message.
type verdict struct {
	name   string
	code   int    // 0: accepted; else the status that the request is answered with, or dropped for a silent drop
	reason string // the phrase of the answer
	// known says why the expectation of the RFC is not met, on purpose. The test fails when it comes to be met.
	known string
}

// dropped marks a response that is not taken: nobody is told.
const dropped = -1

// T-TT-S: RFC 4475, all 49 messages of the archive (and its test.dat, which the text does not show), at wire level. What belongs to a
// level above (420, 415, 416, 405, 483, 501) is accepted here.
func TestTortureRFC4475(t *testing.T) {
	t.Parallel()
	checkTorture(t, "rfc4475", []verdict{
		// 3.1.1 Valid messages.
		{name: "wsinv.dat"},
		{
			name: "intmeth.dat", known: "its display name has quoted-pairs of BEL, NUL and DEL: controls are refused everywhere (THREATS S6)",
			code: 400, reason: "Bad Request: control character",
		},
		{name: "esc01.dat"},
		{name: "escnull.dat"},
		{name: "esc02.dat"},
		{name: "lwsdisp.dat"},
		{name: "longreq.dat"},
		{name: "dblreq.dat"},
		{name: "semiuri.dat"},
		{name: "transports.dat"},
		{name: "mpart01.dat"},
		{name: "unreason.dat"},
		{name: "noreason.dat"},
		// 3.1.2 Invalid messages.
		{name: "badinv01.dat", code: 400, reason: "Bad Request: malformed Via"},
		{name: "clerr.dat", code: 400, reason: "Bad Request: Content-Length larger than the datagram"},
		{name: "ncl.dat", code: 400, reason: "Bad Request: malformed Content-Length"},
		{name: "scalar02.dat", code: 400, reason: "Bad Request: malformed CSeq"},
		{name: "scalarlg.dat", code: dropped},
		{name: "quotbal.dat", code: 400, reason: "Bad Request: malformed display name in To"},
		{name: "ltgtruri.dat", code: 400, reason: "Bad Request: malformed URI scheme in Request-URI"},
		{name: "lwsruri.dat", code: 400, reason: "Bad Request: malformed Request-Line"},
		{name: "lwsstart.dat", code: 400, reason: "Bad Request: malformed Request-Line"},
		{name: "trws.dat", code: 400, reason: "Bad Request: malformed Request-Line"},
		{name: "escruri.dat", code: 400, reason: "Bad Request: URI with headers in Request-URI"},
		{name: "baddate.dat"}, // "an element shouldn't do that unless the contents of the Date header field were actually important"
		{name: "regbadct.dat", code: 400, reason: "Bad Request: URI with headers in Contact"},
		{name: "badaspec.dat", code: 400, reason: "Bad Request: malformed URI scheme in To"},
		{name: "baddn.dat", code: 400, reason: "Bad Request: malformed display name in From"},
		{name: "badvers.dat", code: 505, reason: "Version Not Supported"},
		{name: "mismatch01.dat", code: 400, reason: "Bad Request: CSeq method differs"},
		{name: "mismatch02.dat", code: 400, reason: "Bad Request: CSeq method differs"}, // "A 400 Bad Request is also acceptable"
		{name: "bigcode.dat", code: dropped},
		// 3.2 Transaction layer semantics.
		{name: "badbranch.dat"}, // the transaction layer falls back to RFC 2543 matching
		// 3.3 Application layer semantics.
		{name: "insuf.dat", code: 400, reason: "Bad Request: no Call-ID header"},
		{name: "unkscm.dat"},
		{name: "novelsc.dat"},
		{name: "unksm2.dat"},
		{name: "bext01.dat"},
		{name: "invut.dat"},
		{name: "regaut01.dat"},
		{name: "multi01.dat", code: 400, reason: "Bad Request: two CSeq headers"},
		{name: "mcl01.dat", code: 400, reason: "Bad Request: two Content-Length headers"},
		{name: "bcast.dat"}, // the transaction layer drops a response with two Vias
		{name: "zeromf.dat"},
		{name: "cparam01.dat"},
		{name: "cparam02.dat"},
		{name: "regescrt.dat"},
		{name: "sdp01.dat"},
		{name: "inv2543.dat"},
		{name: "test.dat", code: dropped}, // neither version nor Via
	})
}

// T-TT-S: RFC 5118 §4.1 to §4.10.
func TestTortureRFC5118(t *testing.T) {
	t.Parallel()
	checkTorture(t, "rfc5118", []verdict{
		{name: "ipv6-good"},
		{name: "ipv6-bad", code: 400, reason: "Bad Request: malformed host in URI in Request-URI"},
		{name: "port-ambiguous"},
		{name: "port-unambiguous"},
		{name: "via-received-param-with-delim"},
		{name: "via-received-param-no-delim"},
		{name: "ipv6-in-sdp"},
		{name: "mult-ip-in-header"},
		{name: "mult-ip-in-sdp"},
		{name: "ipv4-mapped-ipv6"},
		{name: "ipv6-bug-abnf-3-colons"},
		{name: "ipv6-correct-abnf-2-colons"},
	})
}

func checkTorture(t *testing.T, dir string, table []verdict) {
	t.Helper()
	seen := map[string]bool{}
	for _, v := range table {
		seen[v.name] = true
		b, err := os.ReadFile(filepath.Join("testdata", dir, v.name))
		if err != nil {
			t.Fatal(err)
		}
		if dir == "rfc5118" {
			b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) // its archive has the line ends of another system
			// and one message whose Content-Length is 17 more than its body.
			b = bytes.Replace(b, []byte("Content-Length: 268\r\n"), []byte("Content-Length: 251\r\n"), 1)
		}
		if !bytes.Contains(b, []byte("\r\n\r\n")) {
			b = append(b, "\r\n"...) // three files of the archives end behind the last header field
		}
		m, err := Parse(b, Limits{})
		e, _ := err.(*SyntaxError)
		switch {
		case v.known != "" && err == nil:
			t.Errorf("%s: now parses; it was refused because %s", v.name, v.known)
		case v.code == 0 && err != nil:
			t.Errorf("%s: %v (%s), should be accepted", v.name, err, e.Reason)
		case v.code == dropped && (m != nil || err == nil):
			t.Errorf("%s: message %v, error %v; should be dropped", v.name, m, err)
		case v.code <= 0:
		case err == nil:
			t.Errorf("%s: accepted, should be answered with %d %s", v.name, v.code, v.reason)
		case m == nil:
			t.Errorf("%s: cannot be answered: %v", v.name, err)
		case e.Code != v.code || e.Reason != v.reason:
			t.Errorf("%s: %d %s at %d, should be %d %s", v.name, e.Code, e.Reason, e.Offset, v.code, v.reason)
		}
		if m != nil && m.IsRequest() {
			checkAnswer(t, v.name, m)
		}
	}
	files, err := os.ReadDir(filepath.Join("testdata", dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !seen[f.Name()] {
			t.Errorf("%s is in testdata and not in the table", f.Name())
		}
	}
}

// checkAnswer writes a response to m and checks that it is one message with the fields of the request.
func checkAnswer(t *testing.T, name string, m *Message) {
	t.Helper()
	b, err := AppendResponse(nil, m, Response{Code: 400, Reason: "Bad Request: test", ToTag: "x"})
	if err != nil {
		t.Errorf("%s: response: %v", name, err)
		return
	}
	r, err := Parse(b, Limits{})
	if err != nil {
		if m.From().IsZero() || m.To().IsZero() || m.CallID() == "" || m.TopVia().IsZero() || m.TopVia().protocol != "SIP/2.0" || m.cseqBy == "" {
			return // an answer to a broken request echoes what was there
		}
		t.Errorf("%s: response does not parse: %v\n%s", name, err, b)
		return
	}
	if r.CallID() != m.CallID() || r.From().Tag() != m.From().Tag() || r.ViaCount() != m.ViaCount() || r.TopVia().Branch() != m.TopVia().Branch() {
		t.Errorf("%s: response differs:\n%s", name, b)
	}
}
