package lab

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

const watchedTwice = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="two notifications">
<send retrans="500"><![CDATA[

SUBSCRIBE sip:juliet@example.com SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:romeo@example.net>;tag=[pid]t[call_number]
To: <sip:juliet@example.com>
Call-ID: [call_id]
CSeq: 1 SUBSCRIBE
Content-Length: 0

]]></send>
<recv response="200"/>
ANSWERED
ANSWERED
</scenario>`

const notifyAnswered = `<recv request="NOTIFY"/>
<send><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>`

// A peer that sends again what it has sent, as any does over UDP whose answer is late, breaks no scenario; what the scenario does not have does.
func TestSIPpTakesCopies(t *testing.T) {
	for _, stray := range []bool{false, true} {
		t.Run(fmt.Sprintf("with a stray message %v", stray), func(t *testing.T) {
			peer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			if err := peer.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			s := StartSIPp(t, SIPpRun{
				Scenario: strings.ReplaceAll(watchedTwice, "ANSWERED", notifyAnswered), Port: FreePorts(t, 1)[0], Target: peer.LocalAddr().(*net.UDPAddr).Port,
			})
			b := make([]byte, 65535)
			n, from, err := peer.ReadFromUDP(b)
			if err != nil {
				t.Fatal(err)
			}
			subscribe := string(b[:n])
			message := func(first, via, cseq string) string {
				return fmt.Sprintf("%s\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n",
					first, via, HeaderOf(subscribe, "From"), HeaderOf(subscribe, "To"), HeaderOf(subscribe, "Call-ID"), cseq)
			}
			notify := func(method string, cseq int) string {
				return message(method+" sip:romeo@127.0.0.1 SIP/2.0", fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bKn%d", peer.LocalAddr(), cseq), fmt.Sprintf("%d %s", cseq, method))
			}
			answer, first := message("SIP/2.0 200 OK", HeaderOf(subscribe, "Via"), "1 SUBSCRIBE"), notify("NOTIFY", 1)
			frames := []string{answer, first, answer, first, notify("NOTIFY", 2)}
			if stray {
				frames = []string{answer, first, answer, notify("INFO", 3)}
			}
			for _, f := range frames {
				if _, err := peer.WriteToUDP([]byte(f), from); err != nil {
					t.Fatal(err)
				}
			}
			if stray {
				Eventually(t, time.Minute, "the stray message is seen", func() bool { return strings.HasPrefix(s.unexpected(), "INFO ") })
				return
			}
			s.Wait(t, time.Minute)
			if got := s.Received(); len(got) != 3 || got[1] != first {
				t.Errorf("received %q", got)
			}
		})
	}
}
