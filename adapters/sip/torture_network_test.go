package sip

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// tortured is what a torture message must be answered with.
type tortured struct {
	file string
	want int // the status code; 0: nothing
	// known is what it is answered with instead, and because why. The test fails when it comes to be answered as it should.
	known   int
	because string
}

// T-TT-S: RFC 4475, all 49 messages, each as a datagram of a peer that may write every From. What is wrong with each is told by
// adapters/sip/wire; here it is what the sender hears.
func TestT_TT_S_RFC4475(t *testing.T) {
	tortureAll(t, "rfc4475", []tortured{
		{file: "wsinv.dat", want: 405}, // 3.1.1.1: valid; INVITE is not served
		{file: "intmeth.dat", want: 501, known: 400, because: "its display name has quoted-pairs of BEL, NUL and DEL, and controls are refused everywhere (THREATS S6)"}, // 3.1.1.2: valid; the method is not known
		{file: "esc01.dat", want: 405},      // 3.1.1.3: valid; INVITE is not served
		{file: "escnull.dat", want: 405},    // 3.1.1.4: valid; REGISTER is not served
		{file: "esc02.dat", want: 501},      // 3.1.1.5: the method is RE%47IST%45R, which is unknown and not REGISTER
		{file: "lwsdisp.dat", want: 200},    // 3.1.1.6: valid
		{file: "longreq.dat", want: 405},    // 3.1.1.7: valid; INVITE is not served
		{file: "dblreq.dat", want: 405},     // 3.1.1.8: the second request in the datagram is ignored
		{file: "semiuri.dat", want: 200},    // 3.1.1.9: valid
		{file: "transports.dat", want: 200}, // 3.1.1.10: valid
		{file: "mpart01.dat", want: 202},    // 3.1.1.11: valid; its multipart/mixed is carried
		{file: "unreason.dat", want: 0},     // 3.1.1.12: a response; nobody waits for it
		{file: "noreason.dat", want: 0},     // 3.1.1.13: a response; nobody waits for it
		{file: "badinv01.dat", want: 400},   // 3.1.2.1
		{file: "clerr.dat", want: 400},      // 3.1.2.2
		{file: "ncl.dat", want: 400},        // 3.1.2.3
		{file: "scalar02.dat", want: 400},   // 3.1.2.4
		{file: "scalarlg.dat", want: 0},     // 3.1.2.5: a response is dropped
		{file: "quotbal.dat", want: 400},    // 3.1.2.6
		{file: "ltgtruri.dat", want: 400},   // 3.1.2.7
		{file: "lwsruri.dat", want: 400},    // 3.1.2.8
		{file: "lwsstart.dat", want: 400},   // 3.1.2.9
		{file: "trws.dat", want: 400},       // 3.1.2.10
		{file: "escruri.dat", want: 400},    // 3.1.2.11
		{file: "baddate.dat", want: 405},    // 3.1.2.12: Date is not important to us; INVITE is not served
		{file: "regbadct.dat", want: 400},   // 3.1.2.13
		{file: "badaspec.dat", want: 400},   // 3.1.2.14
		{file: "baddn.dat", want: 400},      // 3.1.2.15
		{file: "badvers.dat", want: 505},    // 3.1.2.16
		{file: "mismatch01.dat", want: 400}, // 3.1.2.17
		{file: "mismatch02.dat", want: 400}, // 3.1.2.18: 501, or 400
		{file: "bigcode.dat", want: 0},      // 3.1.2.19: a response is dropped
		{file: "badbranch.dat", want: 200},  // 3.2.1: no branch behind the cookie: matched as RFC 2543 does, and served
		{file: "insuf.dat", want: 400},      // 3.3.1
		{file: "unkscm.dat", want: 416},     // 3.3.2
		{file: "novelsc.dat", want: 416},    // 3.3.3
		{file: "unksm2.dat", want: 405},     // 3.3.4: 400 of a registrar; REGISTER is not served
		{file: "bext01.dat", want: 420},     // 3.3.5
		{file: "invut.dat", want: 405},      // 3.3.6: 415 of who serves INVITE
		{file: "regaut01.dat", want: 405},   // 3.3.7: REGISTER is not served, whatever its credentials
		{file: "multi01.dat", want: 400},    // 3.3.8
		{file: "mcl01.dat", want: 400},      // 3.3.9
		{file: "bcast.dat", want: 0},        // 3.3.10: a response with a Via of somebody else
		{file: "zeromf.dat", want: 200},     // 3.3.11: the endpoint itself answers OPTIONS
		{file: "cparam01.dat", want: 405},   // 3.3.12: REGISTER is not served
		{file: "cparam02.dat", want: 405},   // 3.3.13: REGISTER is not served
		{file: "regescrt.dat", want: 405},   // 3.3.14: REGISTER is not served
		{file: "sdp01.dat", want: 405},      // 3.3.15: INVITE is not served
		{file: "inv2543.dat", want: 405},    // 3.4.1: of an RFC 2543 client; INVITE is not served
		{file: "test.dat", want: 0},         // in the archive, not in the text: neither version nor Via
	})
}

// T-TT-S: RFC 5118 §4.1 to §4.10.
func TestT_TT_S_RFC5118(t *testing.T) {
	tortureAll(t, "rfc5118", []tortured{
		{file: "ipv6-good", want: 405},                     // 4.1: valid; REGISTER is not served
		{file: "ipv6-bad", want: 400},                      // 4.2
		{file: "port-ambiguous", want: 405},                // 4.3: valid, and not what its author meant; REGISTER is not served
		{file: "port-unambiguous", want: 405},              // 4.4: valid; REGISTER is not served
		{file: "via-received-param-with-delim", want: 405}, // 4.5: valid; BYE is not served
		{file: "via-received-param-no-delim", want: 200},   // 4.5: to be accepted too
		{file: "ipv6-in-sdp", want: 405},                   // 4.6: valid; INVITE is not served
		{file: "mult-ip-in-header", want: 405},             // 4.7: valid; BYE is not served
		{file: "mult-ip-in-sdp", want: 405},                // 4.8: valid; INVITE is not served
		{file: "ipv4-mapped-ipv6", want: 405},              // 4.9: valid; INVITE is not served
		{file: "ipv6-bug-abnf-3-colons", want: 200},        // 4.10: three colons are to be accepted
		{file: "ipv6-correct-abnf-2-colons", want: 200},    // 4.10
	})
}

func tortureAll(t *testing.T, dir string, table []tortured) {
	t.Helper()
	folder := filepath.Join("wire", "testdata", dir)
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != len(table) {
		t.Fatalf("%d files, %d rows, %v", len(files), len(table), err)
	}
	for _, v := range table {
		t.Run(v.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(folder, v.file))
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
			code, phrase := answerTo(t, b)
			switch {
			case v.because != "" && code == v.want:
				t.Errorf("is answered %d now, as it should be; it was %d because %s", code, v.known, v.because)
			case v.because != "" && code != v.known, v.because == "" && code != v.want:
				t.Errorf("answered %d %s, want %d", code, phrase, v.want)
			}
		})
	}
}

// answerTo offers the octets as a datagram of a peer that may write every From in them, and returns the answer, 0 for none. That there is
// none is known when the next request has been answered: datagrams are handled in their order.
func answerTo(t *testing.T, b []byte) (code int, phrase string) {
	t.Helper()
	sent := make(chan []byte, 8)
	a, _ := start(t, func(cfg *Config) {
		p := loopback
		if m, _ := wire.Parse(b, wire.Limits{}); m != nil && m.IsRequest() { //nolint:errcheck // what cannot be read has no From
			if d := fromDomain(m.From().URI()); d != "" && d != "example.net" {
				p.Domains = append([]string{d}, p.Domains...)
			}
		}
		cfg.Peers = []Peer{p}
		cfg.Tap = func(_ string, dir adapters.Direction, octets []byte) {
			if dir == adapters.Outbound {
				sent <- bytes.Clone(octets)
			}
		}
	})
	udpAgent(t, a).write(b)
	udpAgent(t, a).ask(strings.ReplaceAll(tagged(hello, "sentinel"), "MESSAGE", "OPTIONS"))
	first := string(<-sent)
	if strings.Contains(first, "tag=sentinel") {
		return 0, ""
	}
	// What answers a broken request echoes what was broken: only the first line is looked at.
	line, _, _ := strings.Cut(first, "\r\n")
	code, err := strconv.Atoi(line[len("SIP/2.0 "):][:3])
	if err != nil {
		t.Fatalf("the answer begins %q", line)
	}
	return code, line[len("SIP/2.0 400"):]
}
