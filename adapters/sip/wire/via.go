package wire

import (
	"net/netip"
	"strings"
)

// Via is one value of the Via header field (RFC 3261 §20.42). It is made by ParseVia only, valid when it exists, and comparable.
// The zero value is none.
type Via struct {
	text         string
	protocol     string // name and version as written: "SIP/2.0"
	transport    string
	sentBy       string // host [ ":" port ] without the white space that the grammar allows
	host         string
	params       string // from the first ";" on
	branch       string
	received     netip.Addr
	port         uint16
	rport        uint16
	rportPresent bool
	hop          uint8 // which of hopOverload, hopKeep and hopAlias are there
}

// ParseVia reads one value. It fails with a *SyntaxError.
func ParseVia(s string) (Via, error) {
	if control, _ := scanText(octets(s)); control >= 0 {
		return Via{}, faultControl.at(control)
	}
	var v Via
	n, f := parseVia(&v, s)
	if f == nil && n != len(s) {
		f = faultTrailing
	}
	if f != nil {
		return Via{}, f.at(n)
	}
	return v, nil
}

// parseVia reads the first value of s, whose octets were checked for controls, into v and returns the index of the "," behind it or
// of the end. On a fault it returns where, and v is the zero value.
func parseVia(v *Via, s string) (next int, f *fault) {
	next, ok := v.read(s)
	if !ok {
		*v = Via{}
		return next, faultVia
	}
	return next, nil
}

// read follows the grammar, with SWS wherever SLASH, COLON, SEMI and EQUAL allow it:
//
//	sent-protocol LWS sent-by *( SEMI via-params )
func (v *Via) read(s string) (next int, ok bool) {
	var part [3]string
	i := skipSpace(s, 0)
	start := i
	for n := range part {
		if n > 0 {
			if i = skipSpace(s, i); i >= len(s) || s[i] != '/' {
				return i, false
			}
			i = skipSpace(s, i+1)
		}
		from := i
		for i < len(s) && classes[s[i]]&inToken != 0 {
			i++
		}
		if part[n] = s[from:i]; from == i {
			return i, false
		}
	}
	v.transport = part[2]
	if v.protocol = "SIP/2.0"; !equalFold(part[0], "sip") || part[1] != "2.0" {
		v.protocol = part[0] + "/" + part[1]
	}
	host := skipSpace(s, i)
	if host == i {
		return i, false
	}
	i = host
	if i < len(s) && s[i] == '[' {
		end := strings.IndexByte(s[i:], ']')
		if end < 0 {
			return i, false
		}
		i += end + 1
	} else {
		for i < len(s) && classes[s[i]]&inHost != 0 {
			i++
		}
	}
	if v.host = s[host:i]; !isHost(v.host) {
		return host, false
	}
	v.sentBy = v.host
	if colon := skipSpace(s, i); colon < len(s) && s[colon] == ':' {
		from := skipSpace(s, colon+1)
		for i = from; i < len(s) && isDigit(s[i]); i++ {
		}
		if v.port, ok = parsePort(s[from:i]); !ok {
			return from, false
		}
		if v.sentBy = s[host:i]; colon != host+len(v.host) || from != colon+1 {
			v.sentBy = v.host + ":" + s[from:i]
		}
	}
	if next, ok = v.readParams(s, i); !ok {
		return next, false
	}
	if next < len(s) && s[next] != ',' {
		return next, false
	}
	v.text = trimSpace(s[start:next])
	return next, true
}

func (v *Via) readParams(s string, i int) (next int, ok bool) {
	i = skipSpace(s, i)
	p := paramScan{s: s[i:]}
	for p.next() {
		switch len(p.name) {
		case len("rport"):
			if equalFold(p.name, "rport") { // RFC 3581 §5: response-port = "rport" [EQUAL 1*DIGIT]
				v.rportPresent = true
				if v.rport, ok = parsePort(p.value); p.equals && !ok {
					return i + p.i, false
				}
			} else if equalFold(p.name, "alias") {
				v.hop |= hopAlias
			}
		case len("oc"):
			if equalFold(p.name, "oc") {
				v.hop |= hopOverload
			}
		case len("keep"):
			if equalFold(p.name, "keep") {
				v.hop |= hopKeep
			}
		case len("branch"):
			if equalFold(p.name, "branch") {
				if v.branch = p.value; !isToken(v.branch) {
					return i + p.i, false
				}
			}
		case len("received"):
			if equalFold(p.name, "received") {
				a, err := netip.ParseAddr(strings.Trim(p.value, "[]"))
				if v.received = a; err != nil || a.Zone() != "" {
					return i + p.i, false
				}
			}
		}
	}
	if p.bad >= 0 {
		return i + p.bad, false
	}
	v.params = trimSpace(p.s[:p.i])
	return i + p.i, true
}

// IsZero reports whether v is no Via.
func (v Via) IsZero() bool { return v.host == "" }

// Transport is the transport of sent-protocol as written: "UDP".
func (v Via) Transport() string { return v.transport }

// Host is the host of sent-by as written, an IPv6 address in brackets.
func (v Via) Host() string { return v.host }

// Port is the port of sent-by, or 0 if none is given.
func (v Via) Port() uint16 { return v.port }

// SentBy is host [":" port] as written, without white space.
func (v Via) SentBy() string { return v.sentBy }

// Branch is the branch parameter, "" if there is none (RFC 2543).
func (v Via) Branch() string { return v.branch }

// Received is the received parameter as written by the sender of the message, or the zero Addr. A server never believes it.
func (v Via) Received() netip.Addr { return v.received }

// RPort returns the rport parameter (RFC 3581): whether it is there, and its port or 0 if it has no value.
func (v Via) RPort() (port uint16, present bool) { return v.rport, v.rportPresent }

// Param returns the value of a parameter without quotes, and whether it is there.
func (v Via) Param(name string) (string, bool) { return findParam(v.params, name) }

// String is the value as it came, without the white space around it.
func (v Via) String() string { return v.text }

// appendTop writes the topmost Via of a response: as it came, with received and rport as the server's transport must set them.
// RFC 3261 §18.2.1: "If the host portion of the "sent-by" parameter contains a domain name, or if it contains an IP address that
// differs from the packet source address, the server MUST add a "received" parameter". RFC 3581 §4: with rport, the server "MUST set
// the value of the parameter to the source port of the request" and "MUST insert a "received" parameter" even if it is the same.
// A received or rport value that the sender wrote itself is dropped.
// What hop has to say is added.
func (v Via) appendTop(dst []byte, source netip.AddrPort, hop HopAnswer) []byte {
	if !source.IsValid() {
		return append(dst, v.text...)
	}
	addr := source.Addr().Unmap().WithZone("")
	received := !hop.NoReceived && (v.rportPresent || !v.hostIs(addr))
	answered := hop.Keep > 0 || !hop.Overload.IsZero()
	if !received && !v.received.IsValid() && !answered {
		return append(dst, v.text...)
	}
	if !answered && received && !v.received.IsValid() && v.rport == 0 && v.params != "" && strings.HasSuffix(v.text, ";rport") {
		// The common case: a client that ends with ";rport", as RFC 3581 shows it.
		dst = appendUint(append(append(dst, v.text...), '='), uint64(source.Port()))
		return addr.AppendTo(append(dst, ";received="...))
	}
	dst = append(append(append(dst, v.protocol...), '/'), v.transport...)
	dst = append(append(dst, ' '), v.sentBy...)
	p := paramScan{s: v.params}
	for p.next() {
		if equalFold(p.name, "received") || equalFold(p.name, "rport") && !hop.NoReceived || hop.replaces(p.name) {
			continue
		}
		dst = append(append(dst, ';'), p.name...)
		if p.equals {
			dst = append(append(dst, '='), p.value...)
		}
	}
	if v.rportPresent && !hop.NoReceived {
		dst = appendUint(append(dst, ";rport="...), uint64(source.Port()))
	}
	if received {
		dst = addr.AppendTo(append(dst, ";received="...))
	}
	if hop.Keep > 0 {
		dst = appendUint(append(dst, ";keep="...), uint64(hop.Keep))
	}
	if !hop.Overload.IsZero() {
		dst = hop.Overload.append(dst)
	}
	return dst
}

// hostIs reports whether sent-by is the text of an address.
func (v Via) hostIs(addr netip.Addr) bool {
	h := v.host
	if h[0] != '[' && !isDigit(h[0]) {
		return false
	}
	var b [netipText]byte
	if t := addr.AppendTo(b[:0]); string(t) == strings.Trim(h, "[]") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(h, "[]"))
	return err == nil && a.Unmap() == addr
}

// netipText is the longest text of an IP address without a zone.
const netipText = 46
