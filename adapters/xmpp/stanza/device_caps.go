package stanza

import (
	"slices"

	"github.com/isthmus-gateway/isthmus/pidf"
)

// The capabilities of our users' devices, as caps (XEP-0115) tell them: what a device said it cannot do (RFC 5196) is left out. A set is
// a number, so that there are few, and each has its hash below.
type deviceCaps uint8

const (
	withoutStates   deviceCaps = 1 << iota // it takes no application/im-iscomposing+xml
	withoutReceipts                        // it takes no message/imdn+xml
	isAutomaton
	deviceCapsEnd
)

// capsNode names this software; with a '#' and the hash it is the node that a disco#info request asks for.
const capsNode = "https://github.com/isthmus-gateway"

// hash is the verification string of the set (XEP-0115 §5.1), with SHA-1. A test computes them.
func (c deviceCaps) hash() string {
	return [deviceCapsEnd]string{
		"ipIbOSih2XVYUVNktTzCuwMoY78=", "Zu2+sQSLz0w9rf3Z4eULcTgeXZE=",
		"+/t8y+1ynbIzRLaffi7YqmZs6pY=", "prWulYGFhXeKxGrpezAIHShCa04=",
		"oxGRlC+mVYOkLzP9oOrM7rj1qMk=", "MFdQOOVL6mCz+fhjkEdqJnJY6QQ=",
		"g/981iztweG9g/Ek3LwXwk/n6xI=", "0WVJe1kLI1nDc7foQ7OvyM2UVIA=",
	}[c]
}

// deviceCapsOf reads a tuple. Of a device that says nothing everything is assumed, as it is of an address.
func deviceCapsOf(t *pidf.Tuple) (c deviceCaps) {
	if t.Rich == nil || t.Rich.ServiceCaps == nil {
		return 0
	}
	s := t.Rich.ServiceCaps
	if s.Automata == pidf.FlagTrue {
		c |= isAutomaton
	}
	if len(s.Types) == 0 {
		return c
	}
	if !slices.Contains(s.Types, "application/im-iscomposing+xml") {
		c |= withoutStates
	}
	if !slices.Contains(s.Types, "message/imdn+xml") {
		c |= withoutReceipts
	}
	return c
}

// capsOfNode finds the set that a node of disco#info names.
func capsOfNode(node string) (deviceCaps, bool) {
	if len(node) <= len(capsNode) || node[:len(capsNode)] != capsNode || node[len(capsNode)] != '#' {
		return 0, false
	}
	for c := range deviceCapsEnd {
		if node[len(capsNode)+1:] == c.hash() {
			return c, true
		}
	}
	return 0, false
}

// info is what disco#info answers for a device.
func (c deviceCaps) info() *Info {
	i := &Info{
		Identities: []Identity{{Category: "gateway", Type: "simple"}},
		Features:   []string{SpaceInfo, SpaceItems, SpaceCaps, SpaceLink, SpaceNick, SpaceMood + notify, SpaceActivity + notify},
	}
	if c&isAutomaton != 0 {
		i.Identities = append(i.Identities, Identity{Category: "client", Type: "bot"})
	}
	if c&withoutStates == 0 {
		i.Features = append(i.Features, SpaceStates)
	}
	if c&withoutReceipts == 0 {
		i.Features = append(i.Features, SpaceReceipts, SpaceMarkers)
	}
	return i
}

// notify is the end of a feature that says that its device wants the events of a node (XEP-0163 §4.2).
const notify = "+notify"

// Wants tells whether a device with this answer to disco#info wants the events of a node.
func (i *Info) Wants(node string) bool { return i.Has(node + notify) }

// appendCaps appends <c/> (XEP-0115 §4).
func appendCaps(dst []byte, c deviceCaps) []byte {
	dst = append(dst, "<c xmlns='"+SpaceCaps+"' hash='sha-1' node='"+capsNode+"'"...)
	dst = appendAttr(dst, "ver", c.hash())
	return append(dst, '/', '>')
}

// appendDeviceInfo answers disco#info for a user, by its node if it has one.
func appendDeviceInfo(dst []byte, s *Stanza, c deviceCaps) []byte {
	dst = appendResult(dst, s)
	dst = append(dst, "><query xmlns='"+SpaceInfo+"'"...)
	if s.Node != "" {
		dst = appendAttr(dst, "node", s.Node)
	}
	dst = append(dst, '>')
	i := c.info()
	for _, d := range i.Identities {
		dst = append(append(dst, "<identity category='"...), d.Category...)
		dst = append(append(append(dst, "' type='"...), d.Type...), "'/>"...)
	}
	for _, f := range i.Features {
		dst = append(dst, "<feature"...)
		dst = append(appendAttr(dst, "var", f), '/', '>')
	}
	return append(dst, "</query></iq>"...)
}
