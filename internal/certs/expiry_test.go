package certs_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/internal/certs"
	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// T-FI-17: "expires in run": "new connections refused at expiry", whatever the other side would let pass; another certificate for the same
// domain takes its place, and other domains go on.
func TestT_FI_17_ExpiresInTheRun(t *testing.T) {
	ca := certstest.NewCA(t)
	folder, now := t.TempDir(), time.Now()
	var sources []certs.Source
	for i, spec := range []certstest.Spec{
		{DNS: []string{"short.example", "both.example"}, NotAfter: now.Add(time.Hour)},
		{DNS: []string{"long.example", "both.example"}, NotAfter: now.Add(48 * time.Hour)},
	} {
		files := ca.Issue(spec).WriteFiles(t.TempDir())
		sources = append(sources, certs.Source{Name: []string{"short", "long"}[i], ChainFile: files.Chain, KeyFile: files.Key})
	}
	clock := now
	s, err := certs.Open(certs.Config{Certificates: sources, RootsFile: ca.WriteRoot(folder), Now: func() time.Time { return clock }, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	try := func(domain string) (name string, err error) {
		careless := &tls.Config{ServerName: domain, InsecureSkipVerify: true}
		state, _, clientErr, serverErr := handshake(t, careless, s.Server(certs.Server{}))
		if err := errors.Join(clientErr, serverErr); err != nil {
			return "", err
		}
		return state.PeerCertificates[0].DNSNames[0], nil
	}
	for _, c := range []struct {
		after             time.Duration
		domain, presented string
	}{
		{0, "short.example", "short.example"},
		{0, "both.example", "short.example"},
		{0, "", "short.example"},
		{time.Hour + time.Second, "short.example", ""},
		{time.Hour + time.Second, "both.example", "long.example"},
		{time.Hour + time.Second, "long.example", "long.example"},
		{time.Hour + time.Second, "", "long.example"},
		{49 * time.Hour, "long.example", ""},
		{49 * time.Hour, "", ""},
	} {
		clock = now.Add(c.after)
		if got, err := try(c.domain); got != c.presented || (err != nil) != (c.presented == "") {
			t.Errorf("after %v, for %q: %q, %v", c.after, c.domain, got, err)
		}
		// As a client the gateway shows none then, rather than one that is over.
		if c.domain != "short.example" {
			continue
		}
		asking := s.Client(certs.Client{From: "short.example", ServerName: "long.example"}, func(tls.ConnectionState) error { return nil })
		_, seen, _, _ := handshake(t, asking, &tls.Config{Certificates: []tls.Certificate{ca.Issue(certstest.Spec{DNS: []string{"long.example"}}).TLS()}, ClientAuth: tls.RequestClientCert})
		if shown := len(seen.PeerCertificates) > 0; shown != (c.presented != "") {
			t.Errorf("after %v: shown to a server: %v", c.after, shown)
		}
	}
}

// said is a log that is read while it is written.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *said) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was said since it was asked last.
func (l *said) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// T-FI-17, T-AD-07: "alarm before": the log says it when the last three weeks begin, once a day from then on, and at the end.
func TestT_FI_17_AlarmBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := certstest.NewCA(t)
		folder, begin := t.TempDir(), time.Now()
		files := ca.Issue(certstest.Spec{DNS: []string{"example.net"}, NotBefore: begin.Add(-time.Hour), NotAfter: begin.Add(30*24*time.Hour + time.Hour/2)}).WriteFiles(folder)
		var log said
		s, err := certs.Open(certs.Config{
			Certificates: []certs.Source{{Name: "one", ChainFile: files.Chain, KeyFile: files.Key}}, RootsFile: ca.WriteRoot(folder), Logger: zerolog.New(&log),
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			s.Watch(done)
			close(ended)
		}()
		said := func(after time.Duration) string {
			time.Sleep(time.Until(begin.Add(after)))
			synctest.Wait()
			return log.take()
		}
		const day = 24 * time.Hour
		if got := said(9 * day); got != "" {
			t.Errorf("too soon: %s", got)
		}
		if got := said(9*day + time.Hour); strings.Count(got, `"level":"warn","certificate":"one","warning":"expires-soon"`) != 1 {
			t.Errorf("at three weeks: %s", got)
		}
		if got := said(30 * day); strings.Count(got, "expires-soon") < 20 || strings.Contains(got, "expired") {
			t.Errorf("daily: %s", got)
		}
		if got := said(30*day + time.Hour); strings.Count(got, `"level":"error","certificate":"one","warning":"expired"`) != 1 {
			t.Errorf("at the end: %s", got)
		}
		close(done)
		<-ended
	})
}

// T-FI-18: "policy/CA change with TLS resumption": a client that kept its session comes back after a reload that trusts its authority no
// more: nothing is resumed, and its certificate is judged by the new anchors.
func TestT_FI_18_NoResumptionPastAReload(t *testing.T) {
	ca, other := certstest.NewCA(t), certstest.NewCA(t)
	folder := t.TempDir()
	files := ca.Issue(certstest.Spec{DNS: []string{"example.net"}}).WriteFiles(folder)
	cfg := certs.Config{Certificates: []certs.Source{{Name: "one", ChainFile: files.Chain, KeyFile: files.Key}}, RootsFile: ca.WriteRoot(folder), Logger: zerolog.Nop()}
	s, err := certs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	server := s.Server(certs.Server{Verify: verifier(s, &seen)})
	client := &tls.Config{
		InsecureSkipVerify: true, ServerName: "example.net", ClientSessionCache: tls.NewLRUClientSessionCache(8),
		Certificates: []tls.Certificate{ca.Issue(certstest.Spec{DNS: []string{"peer.example"}}).TLS()},
	}
	if _, _, err, serverErr := handshake(t, client, server); err != nil || serverErr != nil {
		t.Fatal(err, serverErr)
	}
	cfg.RootsFile = other.WriteRoot(t.TempDir())
	commit, err := s.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err, serverErr := handshake(t, client, server); err != nil || serverErr != nil {
		t.Errorf("prepared only: %v, %v", err, serverErr)
	}
	commit()
	if state, _, _, serverErr := handshake(t, client, server); serverErr == nil || state.DidResume {
		t.Errorf("after the change: resumed %v, %v", state.DidResume, serverErr)
	}
}
