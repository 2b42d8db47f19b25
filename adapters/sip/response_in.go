package sip

import (
	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// ReadResponse is the Status that a final response gives to what was asked: RFC 7247 §7.2, Table 3. ok is false for a provisional
// response, which says nothing yet, and for a request.
func ReadResponse(m *wire.Message) (s adapters.Status, ok bool) {
	if m.IsRequest() || m.StatusCode() < 200 {
		return adapters.Status{}, false
	}
	return statusOf(m), true
}
