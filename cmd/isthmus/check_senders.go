package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/certid"
	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/certs"
)

// sipSender is who a SIP peer is, and how it proves that.
func sipSender(cfg *configs.Config, peer configs.Peer) finding {
	f := finding{What: "sender", OK: true, Via: "sip peer", Name: string(peer.Name), To: reachable(cfg, "sip"), Trusted: bool(peer.Trusted)}
	for _, n := range peer.Networks {
		f.From = append(f.From, n.String())
	}
	for _, d := range peer.Certificates {
		f.From = append(f.From, "certificate of "+string(d))
	}
	for _, d := range peer.Domains {
		f.As = append(f.As, string(d))
	}
	for _, u := range peer.Users {
		f.Users = append(f.Users, u.Address.String()+" ("+certs.Quote(string(u.Name))+")")
	}
	if len(cfg.SIP.Signers) > 0 {
		f.Identity = peer.Identity
	}
	return f
}

// sender is the sentence: from where, proven how, as whom, to whom.
func (f finding) sender() string {
	list := func(s []string) string { return strings.Join(s, ", ") }
	as := "anyone at " + list(f.As)
	if len(f.Users) > 0 {
		as = list(f.Users) + ", each by a password"
	}
	s := fmt.Sprintf("may send     %s %s, from %s: as %s, to anyone at %s", f.Via, f.Name, list(f.From), as, list(f.To))
	if f.Trusted {
		s += "; its P-Asserted-Identity is believed"
	}
	switch f.Identity {
	case "verify":
		s += "; signatures (RFC 8224) are verified"
	case "require":
		s += "; each request must be signed (RFC 8224)"
	}
	return s
}

// signerFindings is what check says of those whose signatures are believed: for whom, and how long.
func signerFindings(cfg *configs.Config, now time.Time) ([]finding, error) {
	var found []finding
	for _, s := range cfg.SIP.Signers {
		chain, err := certs.ReadChain(string(s.Info), "certificate_file", string(s.CertificateFile))
		if err != nil {
			return nil, err
		}
		domains, err := certid.Identities(chain[0])
		if err != nil {
			return nil, err
		}
		f := finding{
			What: "signer", OK: !now.Before(chain[0].NotBefore) && now.Before(chain[0].NotAfter), Name: string(s.Info), As: domains,
			Detail: "until " + chain[0].NotAfter.UTC().Format("2006-01-02 15:04 MST"),
		}
		for _, n := range s.Numbers {
			f.As = append(f.As, "+"+string(n)+"...")
		}
		found = append(found, f)
	}
	return found, nil
}
