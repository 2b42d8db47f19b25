package strictxml

import (
	"bytes"
	"unicode/utf8"
)

// framer finds the end of an element whose octets arrive piecemeal. It looks
// at no octet twice, however small the pieces, except for a few of a
// reference or of markup that begins with "<!" or "<?".
//
// It knows just enough of XML to agree with a Cursor about where an element
// ends whenever the element is well-formed: quotes matter in tags only, '>'
// in values and character data does not, and a CDATA section ends at "]]>".
// What is prohibited (RFC 6120 §11.1) it refuses as soon as it is seen, so
// that a peer cannot keep a stream open by never completing it. All else that
// is wrong is left to the Cursor that reads the framed octets.
type framer struct {
	state   frameState
	quote   byte // the quote that ends the value, in frameValue
	tagOnly bool // the start tag is all that is wanted
	pos     int  // octets of the window that are done
	depth   int  // open elements
}

// frameState is what a framer is in the middle of.
type frameState uint8

const (
	frameText  frameState = iota // character data; at first, none
	frameOpen                    // after '<'
	frameTag                     // in a start tag, outside of values
	frameSlash                   // after '/' in a start tag
	frameValue                   // in an attribute value
	frameEnd                     // in an end tag
	frameCDATA                   // in a CDATA section
)

// maxLookahead is how many octets of an incomplete reference are looked at
// again; what is wrong with a longer one, the Cursor tells.
const maxLookahead = 64

// frameResult is how a scan ended.
type frameResult uint8

const (
	frameMore  frameResult = iota // the element goes on after the window
	frameDone                     // the element ends at pos
	frameFault                    // what stands at pos is refused
)

// scan continues in w, the octets of the element from its '<' to as far as
// they have come, and says how it ended; f is meant with frameFault only.
func (s *framer) scan(w []byte, maxDepth int) (res frameResult, f fault) {
	i := s.pos
	for i < len(w) {
		switch s.state {
		case frameText:
			for i < len(w) && classes[w[i]]&clsText == 0 {
				i++
			}
			if i == len(w) {
				break
			}
			switch w[i] {
			case '<':
				s.state = frameOpen
			case '&':
				if next, f, ok := s.reference(w, i); !ok {
					s.pos = next
					return refusal(f), f
				}
			}
			i++
		case frameOpen:
			switch w[i] {
			case '/':
				s.state = frameEnd
			case '!', '?':
				s.pos = i - 1 // of the '<'
				if begins(w[s.pos:], cdataStart) {
					i += len(cdataStart) - 1
					s.state = frameCDATA
					continue
				}
				if f = markupFault(w[s.pos:]); f == faultEnd {
					s.pos = i
				}
				return refusal(f), f
			default:
				if s.depth++; s.depth > maxDepth {
					s.pos = i - 1
					return frameFault, faultDepth
				}
				s.state = frameTag
				continue
			}
			i++
		case frameTag:
			for i < len(w) && classes[w[i]]&clsTag == 0 {
				i++
			}
			if i == len(w) {
				break
			}
			switch b := w[i]; b {
			case '<':
				s.pos = i
				return frameFault, faultTag
			case '/':
				s.state = frameSlash
			case '>':
				s.state = frameText
				if s.tagOnly {
					s.pos = i + 1
					return frameDone, 0
				}
			default:
				s.state, s.quote = frameValue, b
			}
			i++
		case frameSlash:
			if w[i] != '>' {
				s.pos = i
				return frameFault, faultTag
			}
			s.state = frameText
			i++
			if s.depth--; s.depth == 0 {
				s.pos = i
				return frameDone, 0
			}
		case frameValue:
			for i < len(w) && classes[w[i]]&clsValue == 0 {
				i++
			}
			if i == len(w) {
				break
			}
			switch w[i] {
			case s.quote:
				s.state = frameTag
			case '<':
				s.pos = i
				return frameFault, faultValueMarkup
			case '&':
				if next, f, ok := s.reference(w, i); !ok {
					s.pos = next
					return refusal(f), f
				}
			}
			i++
		case frameEnd:
			n := bytes.IndexByte(w[i:], '>')
			if n < 0 {
				i = len(w)
				break
			}
			i += n + 1
			s.state = frameText
			if s.depth--; s.depth <= 0 {
				s.pos = i
				return frameDone, 0
			}
		case frameCDATA:
			n := bytes.IndexByte(w[i:], '>')
			if n < 0 {
				i = len(w)
				break
			}
			i += n + 1
			// The section's own "<![CDATA[" has no ']', so "]]" is inside.
			if w[i-2] == ']' && w[i-3] == ']' {
				s.state = frameText
			}
		}
	}
	s.pos = i
	return frameMore, 0
}

// reference checks the reference at w[i]. If it is not right, or not complete,
// ok is false and next the position to report, or to continue at.
func (s *framer) reference(w []byte, i int) (next int, f fault, ok bool) {
	end := min(len(w), i+maxLookahead)
	_, next, f, ok = scanReference(w[:end], i)
	if f == faultReference && next < end && !utf8.FullRune(w[next:end]) {
		f = faultEnd // the rest of the character is still to come
	}
	if ok || f != faultEnd {
		return next, f, ok
	}
	return i, faultEnd, end < len(w) || end == i+maxLookahead
}

// refusal is the result of a scan that met f: faultEnd means only that more
// octets are needed.
func refusal(f fault) frameResult {
	if f == faultEnd {
		return frameMore
	}
	return frameFault
}
