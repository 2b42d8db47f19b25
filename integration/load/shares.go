package load

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"
)

// Shares is what two peers had when one offered ten times what the other did, and what a client that obeys overload control (RFC 7339) sent.
type Shares struct {
	// QuietTaken is the share of what the quiet peer offered that was taken; LoudOfAll the share of all that was taken that was the loud one's.
	QuietTaken float64 `json:"quiet_taken"`
	LoudOfAll  float64 `json:"loud_of_all"`
	// Sent is what the obedient client sent of what it would have, and of the capacity.
	Sent           float64 `json:"obedient_sent"`
	SentOfCapacity float64 `json:"obedient_sent_of_capacity"`
}

// shares plays a loud peer (five capacities) beside a quiet one (half a capacity), and then an obedient one alone with four.
func (b *bed) shares(ctx context.Context, capacity float64, d time.Duration) (s Shares, err error) {
	v, err := b.play([]float64{5 * capacity, capacity / 2}, d/2, d)
	if err != nil || ctx.Err() != nil {
		return s, err
	}
	loud, quiet := &v.counts[0], &v.counts[1]
	s.QuietTaken = float64(quiet.Taken) / float64(max(quiet.Offered, 1))
	s.LoudOfAll = float64(loud.Taken) / float64(max(loud.Taken+quiet.Taken, 1))
	for _, a := range b.agents {
		a.Rate(0)
	}
	if v, err = b.play([]float64{0, 0, 4 * capacity}, d, d); err != nil {
		return s, err
	}
	obedient := &v.counts[2]
	s.Sent = float64(obedient.Offered) / float64(max(obedient.Offered+obedient.Held, 1))
	s.SentOfCapacity = v.perSecond(obedient.Offered) / capacity
	for _, a := range b.agents {
		a.Rate(0)
	}
	return s, nil
}

// Reflection is what came back of requests whose source may be forged (THREATS T-OV-06): the worst of all kinds.
type Reflection struct {
	Requests int     `json:"requests"`
	Octets   float64 `json:"octets_out_of_in"`
	Packets  float64 `json:"packets_out_of_in"`
}

// reflect sends OPTIONS, MESSAGE and SUBSCRIBE as a peer and as a stranger, each kind of request 20 times, and counts all that comes back.
func (b *bed) reflect() (r Reflection, err error) {
	for _, from := range []string{"127.0.0.1", "127.0.0.99"} {
		for _, method := range []string{"OPTIONS", "MESSAGE", "SUBSCRIBE"} {
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)})
			if err != nil {
				return r, err
			}
			octets, packets, sent := 0, 0, 0
			for i := range 20 {
				body := "hello"
				extra := "Content-Type: text/plain\r\n"
				if method != "MESSAGE" {
					body, extra = "", "Event: presence\r\nExpires: 0\r\nContact: <sip:s@"+conn.LocalAddr().String()+">\r\n"
				}
				request := fmt.Appendf(nil, "%s sip:nobody%d@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKreflect%s%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:s@%s>;tag=%d\r\n"+
					"To: <sip:nobody%d@%s>\r\nCall-ID: reflect%s%s%d\r\nCSeq: 1 %s\r\n%sContent-Length: %d\r\n\r\n%s",
					method, i, XMPPDomain, conn.LocalAddr(), method, i, SIPDomain, i, i, XMPPDomain, from, method, i, method, extra, len(body), body)
				sent += len(request)
				if _, err := conn.WriteTo(request, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: b.gateway.SIP}); err != nil {
					conn.Close() //nolint:errcheck // the first fault counts
					return r, err
				}
			}
			answers := make([]byte, 65536)
			for {
				conn.SetReadDeadline(time.Now().Add(700 * time.Millisecond)) //nolint:errcheck // the read fails then
				n, _, err := conn.ReadFrom(answers)
				if err != nil {
					break
				}
				if bytes.HasPrefix(answers[:n], statusLine) { // a NOTIFY goes to who has proven to be a peer by its address alone
					octets, packets = octets+n, packets+1
				}
			}
			conn.Close() //nolint:errcheck // nothing waits in it
			r.Requests += 20
			r.Octets = max(r.Octets, float64(octets)/float64(sent))
			r.Packets = max(r.Packets, float64(packets)/20)
		}
	}
	return r, nil
}
