package jid

import (
	"strings"

	"github.com/isthmus-gateway/isthmus/cpim"
)

// Hosted writes the users of other domains as users of one host, the way gateways do where a domain cannot be reached by its own name
// (XEP-0106 §1, XEP-0100): im:romeo@example.net at the host gw.example.com is im:romeo%40example.net@gw.example.com, which as a JID is
// romeo\40example.net@gw.example.com. Both ways are one-to-one: what does not map back to itself is refused.
//
// A nil *Hosted maps every address to itself. It does not change once it is made, and is for any goroutine.
type Hosted struct {
	host    string
	domains map[string]bool
}

// NewHosted returns the mapping of the users of domains to the host. All are A-labels, as cpim.Address has them. It is nil if there are
// no domains; the host must not be one of them.
func NewHosted(host string, domains []string) *Hosted {
	if len(domains) == 0 {
		return nil
	}
	h := &Hosted{host: host, domains: make(map[string]bool, len(domains))}
	for _, d := range domains {
		h.domains[d] = d != host
	}
	return h
}

// Hosts tells whether the users of a domain are written at the host.
func (h *Hosted) Hosts(domain string) bool { return h != nil && h.domains[domain] }

// Out returns the address at the host of a user of one of the domains. It fails with a *SyntaxError for a user of another domain and for
// one whose address is too long for it.
func (h *Hosted) Out(a cpim.Address) (cpim.Address, error) {
	if h == nil {
		return a, nil
	}
	if !h.domains[a.Domain()] {
		return cpim.Address{}, errHosted()
	}
	out, err := cpim.NewAddress(a.Scheme(), a.Local()+"@"+a.Domain(), h.host)
	if err != nil {
		return cpim.Address{}, fromCPIM(err)
	}
	if back, err := h.In(out); err != nil || back != a {
		return cpim.Address{}, errBijection()
	}
	return out, nil
}

// In returns whom an address at the host stands for. It fails with a *SyntaxError for what Out never gives.
func (h *Hosted) In(a cpim.Address) (cpim.Address, error) {
	if h == nil {
		return a, nil
	}
	local := a.Local()
	// A domain has no '@', so the last one is where it begins, whatever the user is called.
	at := strings.LastIndexByte(local, '@')
	if a.Domain() != h.host || at <= 0 || !h.domains[local[at+1:]] {
		return cpim.Address{}, errHosted()
	}
	in, err := cpim.NewAddress(a.Scheme(), local[:at], local[at+1:])
	if err != nil {
		return cpim.Address{}, fromCPIM(err)
	}
	if in.Local() != local[:at] || in.Domain() != local[at+1:] {
		return cpim.Address{}, errBijection()
	}
	return in, nil
}

func errHosted() error {
	return &SyntaxError{Rule: "hosted", Section: "XEP-0106 §4.1", Expected: "a user of a domain that is written at this host"}
}
