package stream

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	"golang.org/x/net/idna"

	"github.com/isthmus-gateway/isthmus/adapters/xmpp/jid"
	"github.com/isthmus-gateway/isthmus/internal/strictxml"
)

// header is a stream header of either side (RFC 6120 §4.7). The addresses are domains in their canonical form, "" for none.
type header struct {
	from, to, id, lang string
	// version is whether it says 1.0 or higher, as all do that know of features (RFC 6120 §4.7.5).
	version bool
	// dialback is whether the namespace of dialback is declared (XEP-0220 §2.3.1).
	dialback bool
}

// appendTo appends the header. No attribute stands for an address that is "", but for the 'from' of an answer, which must be there even
// where no name is known (RFC 6120 §4.9.1.3).
func (h *header) appendTo(dst []byte) []byte {
	dst = append(dst, "<?xml version='1.0'?><stream:stream xmlns='"+SpaceServer+"' xmlns:stream='"+SpaceStreams+"'"...)
	if h.dialback {
		dst = append(dst, " xmlns:db='"+SpaceDialback+"'"...)
	}
	if h.from != "" || h.id != "" {
		dst = appendAttr(dst, "from", h.from)
	}
	if h.to != "" {
		dst = appendAttr(dst, "to", h.to)
	}
	if h.id != "" {
		dst = appendAttr(dst, "id", h.id)
	}
	if h.version {
		dst = append(dst, " version='1.0'"...)
	}
	return append(dst, " xml:lang='en'>"...)
}

func appendAttr(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, '=', '\'')
	dst = strictxml.AppendAttrValue(dst, value)
	return append(dst, '\'')
}

// newID returns a stream id, which must be unpredictable and never repeat (RFC 6120 §4.7.3): 128 random bits.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// maxLang bounds what is kept of a peer's language tag, in octets.
const maxLang = 64

// readHeader reads what a root element says of a stream between servers. The error is a *Fault.
func readHeader(root *strictxml.Element, scope *strictxml.Scope) (h header, err error) {
	// "The root <stream/> element MUST be qualified by the namespace 'http://etherx.jabber.org/streams'" (RFC 6120 §4.8.1).
	if root.Name.Space != SpaceStreams {
		return h, &Fault{InvalidNamespace, "a root element in another namespace", "RFC 6120 §4.8.1", ""}
	}
	if root.Name.Local != "stream" {
		return h, &Fault{BadFormat, "another root element than <stream/>", "RFC 6120 §4.2", ""}
	}
	// Either the content namespace is the default, or each child says its own (RFC 6120 §4.8.2).
	if space, ok := scope.Lookup(""); ok && space != SpaceServer && space != SpaceStreams {
		return h, &Fault{InvalidNamespace, "another content namespace than jabber:server", "RFC 6120 §4.8.3", ""}
	}
	h.dialback = declares(scope, root.Raw, SpaceDialback)
	if lang := root.Lang(); len(lang) <= maxLang {
		h.lang = lang
	}
	if v, ok := root.Attr("", "version"); ok {
		if h.version, err = readVersion(v); err != nil {
			return h, err
		}
	}
	h.id, _ = root.Attr("", "id")
	if to, ok := root.Attr("", "to"); ok && to != "" {
		if h.to, ok = domain(to); !ok {
			return h, &Fault{HostUnknown, "a 'to' that is no domain", "RFC 6120 §4.7.2", ""}
		}
	}
	if from, ok := root.Attr("", "from"); ok && from != "" {
		if h.from, ok = domain(from); !ok {
			return h, &Fault{InvalidFrom, "a 'from' that is no domain", "RFC 6120 §4.7.1", ""}
		}
	}
	return h, nil
}

// declares tells whether a header declares a namespace under any prefix. The prefix is looked for in the text because Scope answers
// only for prefixes.
func declares(scope *strictxml.Scope, tag, space string) bool {
	for rest := tag; ; {
		i := strings.Index(rest, "xmlns:")
		if i < 0 {
			return false
		}
		rest = rest[i+len("xmlns:"):]
		if end := strings.IndexAny(rest, "= \t\r\n"); end > 0 {
			if uri, ok := scope.Lookup(rest[:end]); ok && uri == space {
				return true
			}
		}
	}
}

// readVersion tells whether v is 1.0 or a later minor version; before that, what is said is not to be relied on. "The major and minor
// numbers MUST be treated as separate integers", and leading zeros ignored (RFC 6120 §4.7.5).
func readVersion(v string) (one bool, err error) {
	major, minor, ok := strings.Cut(v, ".")
	if !ok || !digits(major) || !digits(minor) {
		return false, ErrVersion
	}
	switch strings.TrimLeft(major, "0") {
	case "":
		return false, nil
	case "1":
		return true, nil
	}
	return false, ErrVersion
}

// digits tells whether s is 1 to 9 decimal digits.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) < 10
}

// domain returns the canonical form of an address that is a domain and nothing else.
func domain(s string) (string, bool) {
	j, err := jid.Parse(s)
	if err != nil || j.Local() != "" || j.Resource() != "" {
		return "", false
	}
	return j.Domain(), true
}

// hostName returns a canonical domain as TLS wants it: A-labels, and an address without brackets.
func hostName(domain string) string {
	if t, ok := strings.CutPrefix(domain, "["); ok {
		return strings.TrimSuffix(t, "]")
	}
	if ascii, err := idna.ToASCII(domain); err == nil {
		return ascii
	}
	return domain
}
