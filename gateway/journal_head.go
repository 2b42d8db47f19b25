package gateway

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// What a start must know of each message in the journal is little, and there may be a million: whom it is from and for, how it came, and what its copies
// share. headOf reads that alone, in the form in which encodeMessage writes it, five times as fast as encoding/json reads the whole.

// headOf reads a message as far as homeOf needs it. False for whatever is not quite as encodeMessage writes it, which decodeMessage is to read.
func headOf(octets []byte) (side string, op *adapters.MessageOp, ok bool) {
	s := headScan{rest: octets}
	op = &adapters.MessageOp{}
	if !s.take('{') {
		return "", nil, false
	}
	seen := uint(0)
	for first := true; ; first = false {
		if s.take('}') {
			break
		}
		if !first && !s.take(',') {
			return "", nil, false
		}
		key, good := s.text()
		if !good || !s.take(':') {
			return "", nil, false
		}
		what := headKey(key)
		if what == 0 || what != headOther && seen&(1<<what) != 0 {
			return "", nil, false
		}
		seen |= 1 << what
		switch what {
		case headVersion:
			good = s.take('1') && len(s.rest) > 0 && s.rest[0] == ','
		case headSide:
			side, good = s.string()
		case headFrom:
			op.From.Address, good = s.address()
		case headTo:
			op.To.Address, good = s.address()
		case headType:
			op.Content.Type, good = s.string()
		case headOrigin:
			op.OriginID, good = s.string()
		case headBody:
			op.Content.Octets, good = s.octets()
		case headCopy:
			var b []byte
			b, good = s.octets()
			op.Copy = string(b)
		case headSubjects:
			op.Subjects, good = s.subjects()
		default:
			good = s.skip()
		}
		if !good {
			return "", nil, false
		}
	}
	const need = 1<<headVersion | 1<<headSide | 1<<headFrom | 1<<headTo
	if len(s.rest) != 0 || seen&need != need {
		return "", nil, false
	}
	op.Peer.Adapter = side
	return side, op, true
}

// headKey is a number for each name of storedMessage; 0 for others.
func headKey(name []byte) uint {
	switch string(name) {
	case "v":
		return headVersion
	case "side":
		return headSide
	case "from":
		return headFrom
	case "to":
		return headTo
	case "type":
		return headType
	case "origin":
		return headOrigin
	case "body":
		return headBody
	case "copy":
		return headCopy
	case "subj":
		return headSubjects
	case "op", "peer", "kind", "thread", "parent", "id", "given", "alt", "lang", "name", "links", "object", "sent", "hops", "wants", "exp", "trace", "sig":
		return headOther
	}
	return 0
}

const (
	headVersion = iota + 1
	headSide
	headFrom
	headTo
	headType
	headOrigin
	headBody
	headCopy
	headSubjects
	headOther // is read by nobody here
)

// headScan reads JSON without white space.
type headScan struct{ rest []byte }

func (s *headScan) take(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// text is a string without escapes.
func (s *headScan) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	end := bytes.IndexByte(s.rest, '"')
	if end < 0 || bytes.IndexByte(s.rest[:end], '\\') >= 0 {
		return nil, false
	}
	t := s.rest[:end]
	s.rest = s.rest[end+1:]
	return t, true
}

func (s *headScan) string() (string, bool) {
	t, ok := s.text()
	if !ok || !utf8.Valid(t) {
		return "", false
	}
	for _, c := range t {
		if c < ' ' {
			return "", false
		}
	}
	return string(t), true
}

// octets is a string in base64, or null.
func (s *headScan) octets() ([]byte, bool) {
	if bytes.HasPrefix(s.rest, []byte("null")) {
		s.rest = s.rest[4:]
		return nil, true
	}
	t, ok := s.text()
	if !ok {
		return nil, false
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(t)))
	n, err := base64.StdEncoding.Decode(b, t)
	return b[:n], err == nil && bytes.IndexByte(t, '\n') < 0 && bytes.IndexByte(t, '\r') < 0
}

// address is the address of a party.
func (s *headScan) address() (a cpim.Address, ok bool) {
	if !s.take('{') || !s.name("a") {
		return a, false
	}
	text, ok := s.string()
	if !ok {
		return a, false
	}
	if s.take(',') {
		if !s.name("i") || !s.skip() {
			return a, false
		}
	}
	a, err := cpim.ParseAddress(text)
	return a, err == nil && s.take('}')
}

// subjects are texts with a language each.
func (s *headScan) subjects() (list []adapters.LangText, ok bool) {
	if !s.take('[') {
		return nil, false
	}
	for {
		var t adapters.LangText
		if !s.take('{') {
			return nil, false
		}
		if bytes.HasPrefix(s.rest, []byte(`"l"`)) {
			if !s.name("l") {
				return nil, false
			}
			if t.Lang, ok = s.string(); !ok || !s.take(',') {
				return nil, false
			}
		}
		if !s.name("t") {
			return nil, false
		}
		if t.Text, ok = s.string(); !ok || !s.take('}') {
			return nil, false
		}
		list = append(list, t)
		if s.take(']') {
			return list, true
		}
		if !s.take(',') {
			return nil, false
		}
	}
}

// name is a key, with its colon.
func (s *headScan) name(want string) bool {
	k, ok := s.text()
	return ok && string(k) == want && s.take(':')
}

// skip passes over a value. Whether it is a valid one whoever reads the whole finds out.
func (s *headScan) skip() bool {
	for depth := 0; len(s.rest) > 0; {
		switch c := s.rest[0]; c {
		case '"':
			if !s.skipText() {
				return false
			}
		case '{', '[':
			depth++
			s.rest = s.rest[1:]
			continue
		case '}', ']':
			depth--
			s.rest = s.rest[1:]
			if depth < 0 {
				return false
			}
		default:
			end := bytes.IndexAny(s.rest, `,}]{["`)
			if depth > 0 && end == 0 { // a comma
				s.rest = s.rest[1:]
				continue
			}
			if end <= 0 {
				return false
			}
			if s.rest = s.rest[end:]; depth > 0 {
				continue
			}
		}
		if depth == 0 {
			return true
		}
	}
	return false
}

func (s *headScan) skipText() bool {
	b := s.rest[1:]
	for {
		end := bytes.IndexByte(b, '"')
		if end < 0 {
			return false
		}
		slashes := 0
		for i := end - 1; i >= 0 && b[i] == '\\'; i-- {
			slashes++
		}
		b = b[end+1:]
		if slashes%2 == 0 {
			s.rest = b
			return true
		}
	}
}
