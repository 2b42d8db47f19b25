package wire

// headerID names a header field that this package knows, whatever spelling it came in. Zero is any other.
type headerID uint8

const (
	hOther headerID = iota
	hAccept
	hAcceptContact
	hAcceptEncoding
	hAcceptLanguage
	hAlertInfo
	hAllow
	hAllowEvents
	hCallID
	hCallInfo
	hContact
	hContentDisposition
	hContentEncoding
	hContentLanguage
	hContentLength
	hContentType
	hCSeq
	hDate
	hErrorInfo
	hEvent
	hExpires
	hFrom
	hHistoryInfo
	hIdentity
	hIdentityInfo
	hInReplyTo
	hMaxForwards
	hMIMEVersion
	hMinExpires
	hOrganization
	hPAssertedIdentity
	hPath
	hPPreferredIdentity
	hPriority
	hProxyRequire
	hReason
	hRecordRoute
	hReferTo
	hReferredBy
	hRejectContact
	hReplyTo
	hRequestDisposition
	hRequire
	hRetryAfter
	hRoute
	hServer
	hServiceRoute
	hSessionExpires
	hSIPETag
	hSIPIfMatch
	hSubject
	hSubscriptionState
	hSupported
	hTimestamp
	hTo
	hUnsupported
	hUserAgent
	hVia
	hWarning
	hCount
)

// headerSpec is what is fixed about a header field.
type headerSpec struct {
	name    string // as printed
	compact byte   // RFC 3261 §7.3.3 and the IANA registry, 0 for none
	// single: at most one line of it may stand in a message, because its grammar is no list (RFC 3261 §7.3.1).
	single bool
	// list: the values of one line are separated by commas.
	list bool
}

// headerSpecs is written once, before main.
var headerSpecs = [hCount]headerSpec{
	hAccept:             {name: "Accept", list: true},
	hAcceptContact:      {name: "Accept-Contact", compact: 'a', list: true},
	hAcceptEncoding:     {name: "Accept-Encoding", list: true},
	hAcceptLanguage:     {name: "Accept-Language", list: true},
	hAlertInfo:          {name: "Alert-Info", list: true},
	hAllow:              {name: "Allow", list: true},
	hAllowEvents:        {name: "Allow-Events", compact: 'u', list: true},
	hCallID:             {name: "Call-ID", compact: 'i', single: true},
	hCallInfo:           {name: "Call-Info", list: true},
	hContact:            {name: "Contact", compact: 'm', list: true},
	hContentDisposition: {name: "Content-Disposition", single: true},
	hContentEncoding:    {name: "Content-Encoding", compact: 'e', list: true},
	hContentLanguage:    {name: "Content-Language", list: true},
	hContentLength:      {name: "Content-Length", compact: 'l', single: true},
	hContentType:        {name: "Content-Type", compact: 'c', single: true},
	hCSeq:               {name: "CSeq", single: true},
	hDate:               {name: "Date", single: true},
	hErrorInfo:          {name: "Error-Info", list: true},
	hEvent:              {name: "Event", compact: 'o', single: true},
	hExpires:            {name: "Expires", single: true},
	hFrom:               {name: "From", compact: 'f', single: true},
	hHistoryInfo:        {name: "History-Info", list: true},
	hIdentity:           {name: "Identity", compact: 'y', list: true},
	hIdentityInfo:       {name: "Identity-Info", compact: 'n', single: true},
	hInReplyTo:          {name: "In-Reply-To", list: true},
	hMaxForwards:        {name: "Max-Forwards", single: true},
	hMIMEVersion:        {name: "MIME-Version", single: true},
	hMinExpires:         {name: "Min-Expires", single: true},
	hOrganization:       {name: "Organization", single: true},
	hPAssertedIdentity:  {name: "P-Asserted-Identity", list: true},
	hPath:               {name: "Path", list: true},
	hPPreferredIdentity: {name: "P-Preferred-Identity", list: true},
	hPriority:           {name: "Priority", single: true},
	hProxyRequire:       {name: "Proxy-Require", list: true},
	hReason:             {name: "Reason", list: true},
	hRecordRoute:        {name: "Record-Route", list: true},
	hReferTo:            {name: "Refer-To", compact: 'r', single: true},
	hReferredBy:         {name: "Referred-By", compact: 'b', single: true},
	hRejectContact:      {name: "Reject-Contact", compact: 'j', list: true},
	hReplyTo:            {name: "Reply-To", single: true},
	hRequestDisposition: {name: "Request-Disposition", compact: 'd', list: true},
	hRequire:            {name: "Require", list: true},
	hRetryAfter:         {name: "Retry-After", single: true},
	hRoute:              {name: "Route", list: true},
	hServer:             {name: "Server", single: true},
	hServiceRoute:       {name: "Service-Route", list: true},
	hSessionExpires:     {name: "Session-Expires", compact: 'x', single: true},
	hSIPETag:            {name: "SIP-ETag", single: true},
	hSIPIfMatch:         {name: "SIP-If-Match", single: true},
	hSubject:            {name: "Subject", compact: 's', single: true},
	hSubscriptionState:  {name: "Subscription-State", single: true},
	hSupported:          {name: "Supported", compact: 'k', list: true},
	hTimestamp:          {name: "Timestamp", single: true},
	hTo:                 {name: "To", compact: 't', single: true},
	hUnsupported:        {name: "Unsupported", list: true},
	hUserAgent:          {name: "User-Agent", single: true},
	hVia:                {name: "Via", compact: 'v', list: true},
	hWarning:            {name: "Warning", list: true},
}

// headerNames finds a headerSpec: the compact forms by their letter, the others by their length.
type headerNames struct {
	compact  [26]headerID
	byLength [24][]headerName
}

type headerName struct {
	lower string
	id    headerID
}

// names is written once, before main.
var names = nameTable()

func nameTable() (t headerNames) {
	for id := hOther + 1; id < hCount; id++ {
		s := headerSpecs[id]
		if s.compact != 0 {
			t.compact[s.compact-'a'] = id
		}
		lower := []byte(s.name)
		for i, c := range lower {
			if c-'A' < 26 {
				lower[i] = c | 0x20
			}
		}
		t.byLength[len(lower)] = append(t.byLength[len(lower)], headerName{string(lower), id})
	}
	return t
}

// headerNamed knows the long and compact names in any case (RFC 3261 §7.3.3), and returns hOther for all other names.
func headerNamed(name string) headerID {
	if len(name) == 1 {
		if c := name[0] | 0x20 - 'a'; isAlpha(name[0]) {
			return names.compact[c]
		}
		return hOther
	}
	if len(name) >= len(names.byLength) {
		return hOther
	}
	for _, n := range names.byLength[len(name)] {
		if name[0]|0x20 == n.lower[0] && equalFold(name, n.lower) {
			return n.id
		}
	}
	return hOther
}
