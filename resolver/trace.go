package resolver

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Trace is everything that one resolution asked, heard and decided, in order. It is made by Explain for people; JSON keeps the
// field names of the structs in lower case.
type Trace struct {
	Query   string    `json:"query"`             // what was asked: "im:example.net"
	Domain  string    `json:"domain,omitempty"`  // its canonical domain
	Lookups []Lookup  `json:"lookups"`           // every question, in the order in which they were asked
	Notes   []string  `json:"notes,omitempty"`   // what the rules made of the answers
	Targets []Chosen  `json:"targets,omitempty"` // the next hops in the order in which they are tried
	Refused []Refusal `json:"refused,omitempty"` // what DNS offered and policy forbids
	Failure *Failure  `json:"failure,omitempty"` // set if there is no target
	Expires time.Time `json:"expires"`           // when the result stops being served from the cache
}

// Lookup is one question and its answer.
type Lookup struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Outcome   Outcome  `json:"outcome"`
	Records   []string `json:"records,omitempty"` // in presentation form, at most 64
	Omitted   int      `json:"omitted,omitempty"` // records beyond those, or not usable
	Aliases   []string `json:"aliases,omitempty"` // the CNAMEs that were followed, the last name included
	TTL       int      `json:"ttl"`               // seconds left
	Authentic bool     `json:"authentic"`         // validated by DNSSEC, by a resolver that is trusted
	Source    string   `json:"source"`            // "server", "cache", "stale cache" or "policy"
	Server    string   `json:"server,omitempty"`
	Detail    string   `json:"detail,omitempty"`
	Millis    float64  `json:"millis"`
}

// Chosen is a target and the reason for its place.
type Chosen struct {
	Target Target `json:"-"`
	Reason string `json:"reason"`
}

// Refusal is an address or port that DNS offered and the Guard forbids, or that DANE forbids.
type Refusal struct {
	Host   string `json:"host"`
	Addr   string `json:"addr,omitempty"`
	Reason string `json:"reason"`
}

// Failure is why there is no target.
type Failure struct {
	Reason   string `json:"reason"`
	Question string `json:"question,omitempty"` // the lookup that decided it
	Detail   string `json:"detail,omitempty"`
}

// targetJSON is how a Target looks in JSON.
type targetJSON struct {
	Protocol   Protocol   `json:"protocol"`
	Transport  Transport  `json:"transport"`
	Host       string     `json:"host"`
	Addr       string     `json:"addr"`
	ServerName string     `json:"server_name,omitempty"`
	Secure     bool       `json:"secure"`
	TLSAStatus TLSAStatus `json:"tlsa_status"`
	TLSA       []string   `json:"tlsa,omitempty"`
}

func (t Target) json() targetJSON {
	j := targetJSON{t.protocol, t.transport, t.host, t.addr.String(), t.serverName, t.secure, t.tlsa, nil}
	for _, r := range t.TLSA() {
		j.TLSA = append(j.TLSA, r.String())
	}
	return j
}

// MarshalJSON writes the target's fields by name.
func (t Target) MarshalJSON() ([]byte, error) { return json.Marshal(t.json()) }

// MarshalJSON writes the target's fields and the reason side by side.
func (c Chosen) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		targetJSON
		Reason string `json:"reason"`
	}{c.Target.json(), c.Reason})
}

// String is the trace for a terminal: one line for each question, record, note and target.
func (t *Trace) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", t.Query)
	for _, l := range t.Lookups {
		state := "not authenticated"
		if l.Authentic {
			state = "authenticated"
		}
		fmt.Fprintf(&b, "  ? %s %s: %s, TTL %d s, %s, from %s", l.Name, l.Type, l.Outcome, l.TTL, state, l.Source)
		if l.Server != "" {
			fmt.Fprintf(&b, " %s", l.Server)
		}
		fmt.Fprintf(&b, ", %.1f ms", l.Millis)
		if l.Detail != "" {
			fmt.Fprintf(&b, " (%s)", l.Detail)
		}
		b.WriteByte('\n')
		for _, a := range l.Aliases {
			fmt.Fprintf(&b, "      alias of %s\n", a)
		}
		for _, r := range l.Records {
			fmt.Fprintf(&b, "      %s\n", r)
		}
		if l.Omitted > 0 {
			fmt.Fprintf(&b, "      and %d more or not usable\n", l.Omitted)
		}
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "  - %s\n", n)
	}
	for _, r := range t.Refused {
		fmt.Fprintf(&b, "  x %s %s: %s\n", r.Host, r.Addr, r.Reason)
	}
	for i, c := range t.Targets {
		fmt.Fprintf(&b, "  %d. %s: %s\n", i+1, c.Target, c.Reason)
	}
	if f := t.Failure; f != nil {
		fmt.Fprintf(&b, "  no target: %s", f.Reason)
		if f.Question != "" {
			fmt.Fprintf(&b, ", decided by %s", f.Question)
		}
		if f.Detail != "" {
			fmt.Fprintf(&b, " (%s)", f.Detail)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// maxTraceRecords bounds the records that one Lookup prints.
const maxTraceRecords = 64

// newLookup describes one question and its answer.
func newLookup(q question, a *answer, left time.Duration, from source, took time.Duration) Lookup {
	l := Lookup{
		Name: q.name, Type: q.qtype.String(), Outcome: a.outcome, TTL: int((left + time.Second - 1) / time.Second), Authentic: a.secure,
		Source: from.String(), Server: a.server, Detail: clip(a.reason), Millis: float64(took.Microseconds()) / 1000, Omitted: a.dropped,
	}
	if len(a.aliases) > 0 {
		l.Aliases = append(append(l.Aliases, a.aliases[1:]...), a.final)
	}
	add := func(s string) {
		if len(l.Records) == maxTraceRecords {
			l.Omitted++
			return
		}
		l.Records = append(l.Records, s)
	}
	for _, ip := range a.addrs {
		add(ip.String())
	}
	for i := range a.srvs {
		add(a.srvs[i].text())
	}
	for i := range a.naptrs {
		n := &a.naptrs[i]
		re := ""
		if n.regexp {
			re = "(regexp)"
		}
		add(fmt.Sprintf("%d %d %s %s %q %s", n.order, n.preference, quote(n.flags), quote(n.service), re, dotted(n.replacement)))
	}
	for _, t := range a.tlsas {
		add(t.String())
	}
	return l
}

func (s *srvRecord) text() string {
	return fmt.Sprintf("%d %d %d %s", s.priority, s.weight, s.port, dotted(s.target))
}

func dotted(name string) string {
	if name == "." || name == "" {
		return "."
	}
	return name + "."
}

// quote makes text from outside fit for a log line.
func quote(s string) string { return strconv.Quote(clip(s)) }
