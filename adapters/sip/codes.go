package sip

import (
	"github.com/isthmus-gateway/isthmus/adapters"
)

// ReasonOf is the Reason of a final SIP response that is no success: RFC 7247 §7.2, Table 3, with its rule for codes that are
// not in the table: by class. It is total: a code outside 300 to 699 is an answer out of turn and so ReasonUndefined.
//
// Four rows are finer than the table, because XMPP has fewer conditions than there are reasons: 413 and 513 (too large), 415
// (unsupported content), 482 and 483 (loop). The XMPP adapter gives each of them the condition that the table names.
func ReasonOf(code int) adapters.Reason {
	switch code {
	case 301, 410:
		return adapters.ReasonGone
	case 380, 406, 416, 421, 488, 505, 606:
		return adapters.ReasonNotAcceptable
	case 401:
		return adapters.ReasonNotAuthenticated
	case 403:
		return adapters.ReasonForbidden
	case 404, 481, 484, 485, 604:
		return adapters.ReasonNotFound
	case 405, 420, 439, 501:
		return adapters.ReasonNotImplemented
	case 407:
		return adapters.ReasonRegistrationRequired
	case 408, 504:
		return adapters.ReasonDomainTimeout
	case 413, 513:
		return adapters.ReasonTooLarge
	case 414, 440, 489:
		return adapters.ReasonPolicyViolation
	case 415:
		return adapters.ReasonUnsupportedContent
	case 423:
		return adapters.ReasonOverloaded
	case 430, 480, 486, 487:
		return adapters.ReasonRecipientUnavailable
	case 482, 483:
		return adapters.ReasonLoop
	case 491:
		return adapters.ReasonUnexpectedRequest
	case 502:
		return adapters.ReasonDomainNotFound
	}
	switch code / 100 {
	case 3:
		return adapters.ReasonRedirect
	case 4:
		return adapters.ReasonBadRequest
	case 5:
		return adapters.ReasonInternal
	case 6:
		return adapters.ReasonRecipientUnavailable
	}
	return adapters.ReasonUndefined
}

// about tells whom a failure is about, which RFC 7247 §7.1 notes 1 and 2 want to be seen in the code: one device ("full JID",
// a 4xx code) or the user ("bare JID", 6xx, which stops a forking proxy's search).
type about bool

const (
	aboutUser   about = false
	aboutDevice about = true
)

// aboutOf tells what a failure to reach p is about.
func aboutOf(p adapters.Party) about { return about(p.Instance != "") }

// CodeOf is the SIP response code of a Reason: RFC 7247 §7.1, Table 2. instance tells that the request was for one device (a
// GRUU, a full JID) and not for the user, see the table's notes 1 and 2. It is total: 500 for what is no Reason.
//
// The answers that depend on more than the Reason are given by answerFor: 301 for ReasonGone with a new address, 302 only with
// one, 503 for the gateway's own overload.
//
// It departs from the table, whose cells are a SHOULD, where a MUST of another text forbids the cell:
//
//   - remote-server-timeout is 504, not 408: an element "MUST NOT send a response with Status-Code of 408 to a non-INVITE
//     request" (RFC 4320 §4.2). For the same reason remote-server-not-found is always 404.
//   - not-authorized is 403, not 401, and registration-required 403, not 407: both codes must carry a challenge (RFC 3261 §22.1),
//     and the gateway has none that the far side would honour.
//   - service-unavailable, for which the table only says what not to use, is 403.
func CodeOf(r adapters.Reason, instance bool) int {
	either := func(device, user int) int {
		if about(instance) == aboutDevice {
			return device
		}
		return user
	}
	switch r {
	case adapters.ReasonBadRequest, adapters.ReasonConflict, adapters.ReasonAddressMalformed, adapters.ReasonAuthorizationRequired,
		adapters.ReasonUndefined, adapters.ReasonUnexpectedRequest:
		return 400
	case adapters.ReasonNotImplemented:
		return either(405, 501)
	case adapters.ReasonForbidden:
		return either(403, 603)
	case adapters.ReasonGone:
		return 410
	case adapters.ReasonInternal, adapters.ReasonOverloaded:
		return 500
	case adapters.ReasonNotFound:
		return either(404, 604)
	case adapters.ReasonNotAcceptable:
		return either(406, 606)
	case adapters.ReasonNotAllowed, adapters.ReasonPolicyViolation, adapters.ReasonNotAuthenticated,
		adapters.ReasonRegistrationRequired, adapters.ReasonServiceUnavailable:
		return 403
	case adapters.ReasonRecipientUnavailable:
		return either(480, 600)
	case adapters.ReasonRedirect:
		return 302
	case adapters.ReasonDomainNotFound:
		return 404
	case adapters.ReasonDomainTimeout, adapters.ReasonOutcomeUnknown:
		return 504
	case adapters.ReasonTooLarge:
		return 413
	case adapters.ReasonUnsupportedContent:
		return 415
	case adapters.ReasonLoop:
		return 483
	case adapters.ReasonExpired:
		return 480
	case adapters.ReasonNone:
	}
	return 500
}

// phraseOf is the reason phrase of a code that this adapter sends, from RFC 3261 §21 and RFC 6665 §8.3. Codes that it does not
// send have the phrase of their class.
func phraseOf(code int) string {
	switch code {
	case 200:
		return "OK"
	case 202:
		return "Accepted"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Moved Temporarily"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 406:
		return "Not Acceptable"
	case 410:
		return "Gone"
	case 412:
		return "Conditional Request Failed"
	case 413:
		return "Request Entity Too Large"
	case 415:
		return "Unsupported Media Type"
	case 416:
		return "Unsupported URI Scheme"
	case 420:
		return "Bad Extension"
	case 423:
		return "Interval Too Brief"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 483:
		return "Too Many Hops"
	case 489:
		return "Bad Event"
	case 500:
		return "Server Internal Error"
	case 501:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Server Time-out"
	case 600:
		return "Busy Everywhere"
	case 603:
		return "Decline"
	case 604:
		return "Does Not Exist Anywhere"
	case 606:
		return "Not Acceptable"
	}
	switch code / 100 {
	case 2:
		return "OK"
	case 3:
		return "Redirected"
	case 4:
		return "Bad Request"
	case 6:
		return "Decline"
	}
	return "Server Internal Error"
}
