package sip

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/transaction"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// answer is a response as it is handed to the transaction.
type answer struct {
	code    int
	phrase  string
	headers []wire.Header
	forget  bool          // see transaction.RespondOptions
	spare   []wire.Header // see transaction.RespondOptions
}

// answerFor is the response that tells of s, an attempt to reach to by a request of this method: RFC 3428 §7 for a success, CodeOf
// for a failure, refined by what the code needs to be true:
//
//   - a new address makes 301 or 302 with a Contact (RFC 7247 §7.1 note 3); ReasonRedirect without one is 480 or 600, since a 302
//     that leads nowhere says no more;
//   - overload of this gateway, which no far side reported, is 503, without Retry-After (RFC 7339 §5.10.2; RFC 3261 §21.5.4 would
//     make it stop all traffic);
//   - 405 carries Allow and 415 Accept (RFC 3261 §21.4.6, §21.4.13).
func answerFor(s adapters.Status, to adapters.Party, method string) answer {
	switch s.Outcome {
	case adapters.Success:
		return answer{code: 200, phrase: phraseOf(200)}
	case adapters.Indeterminate:
		return answer{code: 202, phrase: phraseOf(202)}
	}
	instance := bool(aboutOf(to) == aboutDevice)
	a := answer{code: CodeOf(s.Reason, instance)}
	switch s.Reason {
	case adapters.ReasonGone, adapters.ReasonRedirect:
		contact := ""
		if u := contactURI(s.NewAddress); s.NewAddress != "" && u != "" {
			contact, _ = wire.FormatAddr(wire.AddrSpec{URI: u})
		}
		switch {
		case contact == "" && s.Reason == adapters.ReasonRedirect:
			a.code = CodeOf(adapters.ReasonRecipientUnavailable, instance)
		case contact != "":
			a.headers = append(a.headers, wire.Header{Name: "Contact", Value: contact})
			if s.Reason == adapters.ReasonGone {
				a.code = 301
			}
		}
	case adapters.ReasonOverloaded:
		if s.Remote == "" && s.Code == 0 {
			a.code = 503
		}
	}
	switch a.code {
	case 405:
		a.headers = append(a.headers, wire.Header{Name: "Allow", Value: allow(method, "PUBLISH")})
	case 415:
		a.headers = append(a.headers, wire.Header{Name: "Accept", Value: acceptedContent})
	case 404, 413, 480, 500, 600, 603: // where Retry-After may stand (RFC 3428 §9, Table 2), but 503
		if s.RetryAfter > 0 {
			a.headers = append(a.headers, wire.Header{Name: "Retry-After", Value: strconv.FormatInt(seconds(s.RetryAfter), 10)})
		}
	}
	a.phrase = phraseOf(a.code)
	if text := phraseText(s.Text); text != "" {
		a.phrase += ": " + text
	}
	return a
}

// maxPhrase bounds what is added to a reason phrase, in octets.
const maxPhrase = 120

// phraseText is text as it may stand in a reason phrase (RFC 3261 §25.1, Reason-Phrase): reserved, unreserved and UTF-8 characters
// and spaces; anything else becomes a space. RFC 7247 §7: "Supplementary information ... can be expressed in the "Reason-Phrase"".
func phraseText(text string) string {
	if !utf8.ValidString(text) {
		return ""
	}
	b := make([]byte, 0, min(len(text), maxPhrase))
	for _, r := range text {
		if len(b)+utf8.RuneLen(r) > maxPhrase {
			break
		}
		switch {
		case r >= 0xA0 && r != 0x2028 && r != 0x2029, r-'0' < 10 && r >= '0', (r|0x20)-'a' < 26 && r|0x20 >= 'a',
			r < utf8.RuneSelf && strings.ContainsRune(";/?:@&=+$,-_.!~*'()", r):
			b = utf8.AppendRune(b, r)
		case len(b) > 0 && b[len(b)-1] != ' ':
			b = append(b, ' ')
		}
	}
	return strings.TrimSpace(string(b))
}

// statusOf is the Status of a final response: success for 2xx, indeterminate for 202, ReasonOf for the rest.
func statusOf(m *wire.Message) adapters.Status {
	code := m.StatusCode()
	s := adapters.Status{Code: code}
	if s.Remote = "200 OK"; code != 200 || m.ReasonPhrase() != "OK" {
		s.Remote = clip(strconv.Itoa(code) + " " + m.ReasonPhrase())
	}
	switch {
	case code == 202:
		// "the message has been delivered to a gateway, store and forward server, or some other service that may
		// eventually deliver the message" (RFC 3428 §4).
		s.Outcome = adapters.Indeterminate
		return s
	case code/100 == 2:
		s.Outcome = adapters.Success
		return s
	}
	s.Outcome = adapters.Failure
	s.Reason = ReasonOf(code)
	s.Text = clip(m.ReasonPhrase())
	if v, ok := m.Header("Retry-After"); ok {
		s.RetryAfter = parseRetryAfter(v)
	}
	if code/100 == 3 {
		s.NewAddress = redirection(m)
	}
	return s
}

// redirection is where a 3xx points: the im: address of its first Contact, or that URI as it is if it has no such address. It is told
// and never followed: the gateway does not let a peer choose where it sends.
func redirection(m *wire.Message) string {
	for v := range m.Headers("Contact") {
		a, err := wire.ParseAddr(v)
		if err != nil {
			return ""
		}
		p, ref := AddressOf(a.URI(), cpim.SIPMapping{Scheme: cpim.IM, IgnorePort: true})
		if ref != nil {
			return clip(a.URI().String())
		}
		return p.Address.String()
	}
	return ""
}

// outcome is the Status of an attempt to reach one next hop, and whether the next one may be tried: only while "the message cannot
// have been taken by the last". A 503 says so itself (RFC 3263 §4.3 counts it as a failure of that server).
func outcome(r *transaction.Result) (s adapters.Status, another bool) {
	if r.Response != nil {
		s = statusOf(r.Response)
		return s, s.Code == 503
	}
	switch {
	case errors.Is(r.Err, transaction.ErrTooLarge):
		return adapters.Failed(adapters.ReasonTooLarge, ""), true
	case errors.Is(r.Err, transaction.ErrInvalid):
		return adapters.Failed(adapters.ReasonBadRequest, "The message cannot be written in SIP"), false
	case r.Sent:
		s = adapters.Failed(adapters.ReasonOutcomeUnknown, "")
	case errors.Is(r.Err, transaction.ErrOverloaded):
		return adapters.Failed(adapters.ReasonOverloaded, ""), true
	case errors.Is(r.Err, transaction.ErrClosed):
		return adapters.Failed(adapters.ReasonOverloaded, "The gateway is shutting down"), false
	default:
		s, another = adapters.Failed(adapters.ReasonDomainTimeout, ""), true
	}
	if r.Err != nil {
		s.Remote = clip(r.Err.Error())
	}
	return s, another
}

// endsUsage tells whether a response to a request within an event dialog ends it: "a 404, 405, 410, 416, 480-485, 489, 501, or 604
// response" (RFC 6665 §4.1.2.2 for SUBSCRIBE, §4.2.2 for NOTIFY).
func endsUsage(code int) bool {
	return slices.Contains([]int{404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604}, code)
}
