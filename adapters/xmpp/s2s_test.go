package xmpp_test

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
	"github.com/isthmus-gateway/isthmus/internal/porttest"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// federation is a set of servers that know each other's addresses, as DNS would, and trust one CA.
type federation struct {
	t     *testing.T
	ca    *certstest.CA
	addrs map[string]resolver.Target
}

func newFederation(t *testing.T) *federation {
	return &federation{t: t, ca: certstest.NewCA(t), addrs: map[string]resolver.Target{}}
}

// store returns certificates for domains, "" for none, issued by the CA.
func (f *federation) store(domains ...string) *certs.Store {
	return f.storeOf(f.ca, domains...)
}

func (f *federation) storeOf(ca *certstest.CA, domains ...string) *certs.Store {
	f.t.Helper()
	dir := f.t.TempDir()
	c := certs.Config{RootsFile: f.ca.WriteRoot(dir), Logger: zerolog.Nop()}
	for _, d := range domains {
		files := ca.Issue(certstest.Spec{DNS: []string{d}}).WriteFiles(dir)
		c.Certificates = append(c.Certificates, certs.Source{Name: strings.ReplaceAll(d, ".", "-"), ChainFile: files.Chain, KeyFile: files.Key})
	}
	s, err := certs.Open(c)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// config is a server for domains at a new address.
func (f *federation) config(domains ...string) xmpp.Config {
	f.t.Helper()
	addr := porttest.Address(f.t)
	for _, d := range domains {
		f.at(d, resolver.TCP, addr)
	}
	cfg := quick()
	cfg.Limits.ConnectTimeout = 20 * time.Second
	cfg.Registerer = prometheus.NewRegistry()
	cfg.Servers = &xmpp.Servers{
		Domains: domains, Listeners: []xmpp.Listener{{Address: addr}}, Certificates: f.store(domains...), Resolve: f.resolve,
	}
	return cfg
}

// at says where a domain's server is.
func (f *federation) at(domain string, transport resolver.Transport, addr string) {
	f.addrs[domain] = resolver.MustTarget(resolver.TargetSpec{Protocol: resolver.XMPP, Transport: transport, Addr: netip.MustParseAddrPort(addr), ServerName: domain})
}

type noDomain struct{}

func (noDomain) Error() string   { return "no such domain" }
func (noDomain) Temporary() bool { return false }

func (f *federation) resolve(_ context.Context, domain string) ([]resolver.Target, error) {
	if t, ok := f.addrs[domain]; ok {
		return []resolver.Target{t}, nil
	}
	return nil, noDomain{}
}

// hops is where a domain is, as the core tells the adapter.
func (f *federation) hops(domain string) []resolver.Target {
	if t, ok := f.addrs[domain]; ok {
		return []resolver.Target{t}
	}
	return nil
}

func between(from, to, id, body string) *adapters.MessageOp {
	return &adapters.MessageOp{
		From: adapters.Party{Address: cpim.MustParseAddress("im:" + from)}, To: adapters.Party{Address: cpim.MustParseAddress("im:" + to)},
		TransID: id, Content: adapters.Content{Type: "text/plain", Octets: []byte(body)}, Deadline: time.Now().Add(patience),
	}
}

// counted returns the sum of a metric's values whose labels contain all of want ("name=value").
func counted(t *testing.T, reg prometheus.Registerer, name string, want ...string) float64 {
	t.Helper()
	families, err := reg.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]bool{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()+"="+l.GetValue()] = true
			}
			all := true
			for _, w := range want {
				all = all && labels[w]
			}
			if all {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// TestServersExternal: two servers exchange messages both ways, each on a stream that its certificate has authenticated, and with
// acknowledgement.
func TestServersExternal(t *testing.T) {
	f := newFederation(t)
	netCfg, comCfg := f.config("example.net"), f.config("example.com")
	netCore, comCore := newRecorder(), newRecorder()
	a, b := start(t, netCfg, netCore), start(t, comCfg, comCore)
	for i := range 5 {
		id := "m" + strconv.Itoa(i)
		if st := a.Message(t.Context(), f.hops("example.com"), between("romeo@example.net", "juliet@example.com", id, "hi")); st.Outcome != adapters.Indeterminate {
			t.Fatalf("%+v", st)
		}
		if op := next(t, comCore.messages, "the message"); op.From.Address.String() != "im:romeo@example.net" || string(op.Content.Octets) != "hi" || op.TransID != id {
			t.Fatalf("%+v", op)
		}
		if st := b.Message(t.Context(), f.hops("example.net"), between("juliet@example.com", "romeo@example.net", id, "hello")); st.Outcome != adapters.Indeterminate {
			t.Fatalf("%+v", st)
		}
		if op := next(t, netCore.messages, "the answer"); op.From.Address.String() != "im:juliet@example.com" || op.Peer.Name != "strangers" {
			t.Fatalf("%+v", op)
		}
	}
	if n := counted(t, netCfg.Registerer, "isthmus_xmpp_server_authenticated_total", "direction=out", "method=external"); n != 1 {
		t.Errorf("%v streams were authenticated outwards", n)
	}
	// The stream goes both ways (XEP-0288): the other side needed none of its own.
	if n := counted(t, comCfg.Registerer, "isthmus_xmpp_server_authenticated_total", "direction=out"); n != 0 {
		t.Errorf("%v streams back", n)
	}
	if n := counted(t, netCfg.Registerer, "isthmus_xmpp_server_acks_total", "kind=got"); n == 0 {
		t.Error("nothing was acknowledged by XEP-0198")
	}
}

// TestServersError: an error that comes back settles the operation it answers.
func TestServersError(t *testing.T) {
	f := newFederation(t)
	netCfg, comCfg := f.config("example.net"), f.config("example.com")
	comCore := newRecorder()
	a := start(t, netCfg, newRecorder())
	start(t, comCfg, comCore)
	comCore.say(adapters.Failed(adapters.ReasonNotFound, ""))
	if st := a.Message(t.Context(), f.hops("example.com"), between("romeo@example.net", "nobody@example.com", "1", "hi")); st.Outcome != adapters.Failure || st.Reason != adapters.ReasonNotFound {
		t.Fatalf("%+v", st)
	}
}

// TestServersDirectTLS: the same over direct TLS (XEP-0368).
func TestServersDirectTLS(t *testing.T) {
	f := newFederation(t)
	netCfg, comCfg := f.config("example.net"), f.config("example.com")
	addr := comCfg.Servers.Listeners[0].Address
	comCfg.Servers.Listeners[0].Direct = true
	f.at("example.com", resolver.TLS, addr)
	core := newRecorder()
	a := start(t, netCfg, newRecorder())
	start(t, comCfg, core)
	if st := a.Message(t.Context(), f.hops("example.com"), between("romeo@example.net", "juliet@example.com", "1", "hi")); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	next(t, core.messages, "the message")
}

// TestServersDialback: a server without a certificate that counts is proven by dialback where that is allowed, over TLS.
func TestServersDialback(t *testing.T) {
	f := newFederation(t)
	stranger := certstest.NewCA(t)
	netCfg, comCfg := f.config("example.net"), f.config("example.com")
	for _, c := range []*xmpp.Config{&netCfg, &comCfg} {
		c.Servers.Dialback = true
		c.Servers.Certificates = f.storeOf(stranger, c.Servers.Domains...)
	}
	netCore, comCore := newRecorder(), newRecorder()
	a, b := start(t, netCfg, netCore), start(t, comCfg, comCore)
	if st := a.Message(t.Context(), f.hops("example.com"), between("romeo@example.net", "juliet@example.com", "1", "hi")); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	next(t, comCore.messages, "the message")
	if st := b.Message(t.Context(), f.hops("example.net"), between("juliet@example.com", "romeo@example.net", "1", "hi")); st.Outcome != adapters.Indeterminate {
		t.Fatalf("%+v", st)
	}
	next(t, netCore.messages, "the answer")
	if n := counted(t, netCfg.Registerer, "isthmus_xmpp_dialback_total", "role=presented", "result=valid"); n != 1 {
		t.Errorf("%v keys were presented", n)
	}
	if n := counted(t, netCfg.Registerer, "isthmus_xmpp_dialback_total", "role=vouched", "result=valid"); n != 1 {
		t.Errorf("%v keys were vouched for", n)
	}
}

// TestServersRefused: who proves nothing gets nothing, and is told so truly.
func TestServersRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f *federation, ours, theirs *xmpp.Config)
		want   adapters.Reason
	}{
		{"their certificate is for another domain", func(f *federation, _, theirs *xmpp.Config) {
			theirs.Servers.Certificates = f.store("example.org")
		}, adapters.ReasonDomainTimeout},
		{"their certificate is of an unknown CA", func(f *federation, _, theirs *xmpp.Config) {
			theirs.Servers.Certificates = f.storeOf(certstest.NewCA(f.t), "example.com")
		}, adapters.ReasonDomainTimeout},
		{"ours is of an unknown CA", func(f *federation, ours, _ *xmpp.Config) {
			ours.Servers.Certificates = f.storeOf(certstest.NewCA(f.t), "example.net")
		}, adapters.ReasonNotAuthenticated},
		{"we have none", func(f *federation, ours, _ *xmpp.Config) {
			ours.Servers.Certificates = f.store()
		}, adapters.ReasonNotAuthenticated},
		{"they do not serve the domain", func(f *federation, _, theirs *xmpp.Config) {
			f.addrs["example.org"] = f.addrs["example.com"]
		}, adapters.ReasonDomainNotFound},
		{"nobody listens", func(f *federation, _, theirs *xmpp.Config) {
			f.at("example.org", resolver.TCP, porttest.Refused(f.t).String())
		}, adapters.ReasonDomainTimeout},
		{"there is no such domain", func(*federation, *xmpp.Config, *xmpp.Config) {}, adapters.ReasonDomainNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFederation(t)
			ours, theirs := f.config("example.net"), f.config("example.com")
			c.change(f, &ours, &theirs)
			core := newRecorder()
			a := start(t, ours, newRecorder())
			start(t, theirs, core)
			to := "example.com"
			if strings.HasPrefix(c.name, "they do not") || strings.HasPrefix(c.name, "nobody") || strings.HasPrefix(c.name, "there is no") {
				to = "example.org"
			}
			st := a.Message(t.Context(), f.hops(to), between("romeo@example.net", "juliet@"+to, "1", "hi"))
			if st.Outcome != adapters.Failure || st.Reason != c.want {
				t.Fatalf("%+v", st)
			}
			none(t, core.messages, "a message went through")
		})
	}
}
