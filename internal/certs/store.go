package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Config is what Open takes.
type Config struct {
	// Certificates are the gateway's own, in the order in which a tie is decided: the first is the one for clients that name no
	// domain. None is right for a gateway that presents none.
	Certificates []Source
	// RootsFile holds the trust anchors in PEM; "" means those of the system, which the process reads once.
	RootsFile string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger gets a line at each Reload, and at Open one for each warning.
	Logger zerolog.Logger
	// Registerer gets the metrics of this package; nil: none.
	Registerer prometheus.Registerer
}

// Store holds the gateway's certificates and trust anchors, and makes TLS configurations that always use its newest ones. Any
// goroutine may use it.
type Store struct {
	config    Config
	current   atomic.Pointer[holding]
	reloading sync.Mutex // one Reload at a time
	metrics   *metrics
}

// Open reads all files. It fails with every fault at once: each is a *FileFault that errors.As finds, joined by errors.Join.
// Certificates that are expired or not yet valid are taken, with a warning, and shown to nobody while they are so: handshakes that need one
// fail, and the gateway's other domains go on.
func Open(c Config) (*Store, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	h, err := c.load()
	if err != nil {
		return nil, err
	}
	s := &Store{config: c}
	s.current.Store(h)
	if s.metrics, err = newMetrics(s, c.Registerer); err != nil {
		return nil, err
	}
	s.warn()
	return s, nil
}

// Reload reads all files again. If anything is wrong with any of them, everything stays as it was and the error says why, as that
// of Open does; so it does if a certificate that is valid now would be replaced by one that is not. Connections that are up are not
// touched; new ones use what is new.
func (s *Store) Reload() error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	h := s.current.Load()
	commit, err := s.prepare(h.sources, h.rootsFile)
	if err != nil {
		return err
	}
	commit()
	return nil
}

// Prepare reads all files of another configuration, of which only Certificates and RootsFile are looked at. It fails as Reload does. What it
// returns takes the certificates on, for connections that are made from then on. One prepared change at a time.
func (s *Store) Prepare(c Config) (commit func(), err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	return s.prepare(c.Certificates, c.RootsFile)
}

func (s *Store) prepare(sources []Source, rootsFile string) (commit func(), err error) {
	c := s.config
	c.Certificates, c.RootsFile = sources, rootsFile
	h, err := c.load()
	if err == nil {
		err = s.worse(h)
	}
	if err != nil {
		s.metrics.reloaded(false)
		s.config.Logger.Error().Err(err).Msg("certificates not reloaded: the old ones stay")
		return nil, err
	}
	return func() {
		s.current.Store(h)
		s.metrics.reloaded(true)
		s.config.Logger.Info().Int("certificates", len(h.all)).Msg("certificates reloaded")
		s.warn()
	}, nil
}

// worse is the faults of certificates in h that are not valid while the ones that they would replace are.
func (s *Store) worse(h *holding) error {
	now := s.config.Now()
	var faults []error
	old := s.current.Load()
	for i, c := range h.all {
		for _, o := range old.all {
			if o.name == c.name && o.valid(now) && !c.valid(now) {
				faults = append(faults, &FileFault{
					Name: c.name, Key: "chain_file", File: h.sources[i].ChainFile,
					Problem: "is not valid at this time, and the certificate in use is", Instead: "have it issued anew",
				})
			}
		}
	}
	return errors.Join(faults...)
}

// Trust is the present trust anchors and the present moment: what a peer's certificate is judged by. It is to be asked for each
// judgement anew.
func (s *Store) Trust() Trust {
	return Trust{Roots: s.current.Load().roots, Now: s.config.Now()}
}

// Has reports whether there is a certificate for domain (an A-label name).
func (s *Store) Has(domain string) bool { return len(s.current.Load().find(domain)) > 0 }

// Len is the number of certificates.
func (s *Store) Len() int { return len(s.current.Load().all) }

// WarningKind is what a Warning is about.
type WarningKind string

// The kinds of warnings.
const (
	Expired     WarningKind = "expired"
	NotYetValid WarningKind = "not-yet-valid"
	ExpiresSoon WarningKind = "expires-soon" // within 21 days
	Nameless    WarningKind = "nameless"     // there is no name in it that could prove a domain
)

// soon is how long before the end of a certificate the warnings begin (THREATS.md O5).
const soon = 21 * 24 * time.Hour

// Warning is something about a certificate in use that an operator should know.
type Warning struct {
	Name string // of the Source
	Kind WarningKind
	// Until is the end of the chain, or its beginning for NotYetValid.
	Until time.Time
}

// String is the warning as a sentence.
func (w Warning) String() string {
	at := w.Until.UTC().Format(time.RFC3339)
	switch w.Kind {
	case Expired:
		return "certificate " + w.Name + " expired at " + at
	case NotYetValid:
		return "certificate " + w.Name + " is valid only from " + at
	case ExpiresSoon:
		return "certificate " + w.Name + " expires at " + at
	}
	return "certificate " + w.Name + " has no name in subjectAltName that could prove a domain"
}

// Warnings are what is to be said of the certificates in use now.
func (s *Store) Warnings() []Warning {
	now := s.config.Now()
	var found []Warning
	for _, c := range s.current.Load().all {
		from := c.chain[0].NotBefore
		for _, above := range c.chain[1:] {
			if above.NotBefore.After(from) {
				from = above.NotBefore
			}
		}
		switch end := c.expiry(); {
		case now.After(end):
			found = append(found, Warning{c.name, Expired, end})
		case now.Before(from):
			found = append(found, Warning{c.name, NotYetValid, from})
		case end.Sub(now) < soon:
			found = append(found, Warning{c.name, ExpiresSoon, end})
		}
		if n := c.names; len(n.DNS)+len(n.URI)+len(n.SRV)+len(n.XMPPAddr) == 0 {
			found = append(found, Warning{Name: c.name, Kind: Nameless})
		}
	}
	return found
}

// Held is one certificate in use, for people.
type Held struct {
	Name  string
	Names Names
	Until time.Time // the end of the chain
}

// Held is the certificates in use now, in the order of the configuration.
func (s *Store) Held() []Held {
	all := s.current.Load().all
	out := make([]Held, len(all))
	for i, c := range all {
		out[i] = Held{c.name, c.names, c.expiry()}
	}
	return out
}

// Watch says again what is to be said of the certificates: once a day, and when one of them ends or begins to end soon. It returns when done is
// closed.
func (s *Store) Watch(done <-chan struct{}) {
	for {
		t := time.NewTimer(s.quiet())
		select {
		case <-t.C:
			s.warn()
		case <-done:
			t.Stop()
			return
		}
	}
}

// quiet is how long nothing new is to be said, at most a day.
func (s *Store) quiet() time.Duration {
	now, next := s.config.Now(), 24*time.Hour
	for _, c := range s.current.Load().all {
		end := c.expiry()
		for _, at := range [...]time.Time{end.Add(-soon), end} {
			// A second later, so that it is so then.
			if d := at.Sub(now) + time.Second; d > 0 {
				next = min(next, d)
			}
		}
	}
	return next
}

func (s *Store) warn() {
	for _, w := range s.Warnings() {
		e := s.config.Logger.Warn()
		if w.Kind == Expired {
			e = s.config.Logger.Error()
		}
		e.Str("certificate", w.Name).Str("warning", string(w.Kind)).Time("until", w.Until).Msg("certificate")
	}
}

// holding is one state of the files. It does not change.
type holding struct {
	all   []*held
	exact map[string][]*held // by the name itself
	under map[string][]*held // by the name below which one label may be anything
	roots *x509.CertPool
	// what was read
	sources   []Source
	rootsFile string
}

func (c Config) load() (*holding, error) {
	h := &holding{exact: make(map[string][]*held), under: make(map[string][]*held), sources: c.Certificates, rootsFile: c.RootsFile}
	var faults []error
	var err error
	if h.roots, err = loadRoots(c.RootsFile); err != nil {
		faults = append(faults, err)
	}
	seen := make(map[string]bool)
	for _, source := range c.Certificates {
		if seen[source.Name] {
			faults = append(faults, errors.New("two certificates have the name "+Quote(source.Name)))
		}
		seen[source.Name] = true
		one, err := load(source)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		h.add(one)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return h, nil
}

// add indexes a certificate by every name in it. What is found so is only presented: what it proves, the peer decides.
func (h *holding) add(one *held) {
	h.all = append(h.all, one)
	index := func(m map[string][]*held, name string) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if l := m[name]; len(l) == 0 || l[len(l)-1] != one {
			m[name] = append(l, one)
		}
	}
	for _, name := range one.names.DNS {
		if parent, ok := strings.CutPrefix(name, "*."); ok {
			index(h.under, parent)
		} else {
			index(h.exact, name)
		}
	}
	for _, name := range one.names.SRV {
		_, domain, _ := strings.Cut(name, ".")
		index(h.exact, domain)
	}
	for _, name := range one.names.XMPPAddr {
		index(h.exact, name)
	}
	for _, uri := range one.names.URI {
		if scheme, host, ok := strings.Cut(uri, ":"); ok && strings.EqualFold(scheme, "sip") {
			index(h.exact, host)
		}
	}
}

// find is the certificates for domain: those that have its name, then those with a wildcard for it.
func (h *holding) find(domain string) []*held {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	found := h.exact[domain]
	if _, parent, ok := strings.Cut(domain, "."); ok {
		if wild := h.under[parent]; len(wild) > 0 {
			found = append(found[:len(found):len(found)], wild...)
		}
	}
	return found
}

// choose is the first of the certificates for domain that is valid and that supports lets pass, or the first that is valid. One that is not
// valid proves nothing and is shown to nobody (T-FI-17); ended says that there is such a one and no other.
func (h *holding) choose(domain string, now time.Time, supports func(*tls.Certificate) error) (_ *tls.Certificate, ended bool) {
	var first *tls.Certificate
	found := h.find(domain)
	for _, c := range found {
		switch {
		case !c.valid(now):
		case supports(&c.tls) == nil:
			return &c.tls, false
		case first == nil:
			first = &c.tls
		}
	}
	return first, first == nil && len(found) > 0
}
