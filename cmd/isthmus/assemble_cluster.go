package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/internal/certs"
)

// clusterOf is the cluster that a configuration makes this node one of; nil if none.
func clusterOf(cfg *configs.Config, log zerolog.Logger) (*store.Cluster, error) {
	c := &cfg.Store.Cluster
	if !c.Used() {
		return nil, nil
	}
	s := &store.Cluster{
		Node: string(c.Node), Listen: string(c.Listen), Replicas: c.Replicas.Int(),
		Credentials: string(c.CredentialsFile), Wait: time.Duration(c.Wait),
	}
	for _, u := range c.URLs {
		s.URLs = append(s.URLs, string(u))
	}
	for _, n := range c.Nodes {
		s.Nodes = append(s.Nodes, store.Peer{Name: string(n.Name), Address: string(n.Address)})
	}
	if c.ChainFile == "" && c.RootsFile == "" {
		return s, nil
	}
	o := certs.Config{RootsFile: string(c.RootsFile), Logger: log}
	if c.ChainFile != "" {
		o.Certificates = []certs.Source{{Name: clusterCertificate, ChainFile: string(c.ChainFile), KeyFile: string(c.KeyFile)}}
	}
	held, err := certs.Open(o)
	if err != nil {
		return nil, clusterFaults(cfg, err)
	}
	if len(c.URLs) > 0 {
		s.Roots = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: held.Trust().Roots}
		return s, nil
	}
	hosts := map[string]bool{}
	for _, n := range s.Nodes {
		if host, _, err := net.SplitHostPort(n.Address); err == nil {
			hosts[host] = true
		}
	}
	s.TLS = nodeTLS(held, hosts)
	return s, nil
}

// clusterCertificate is what logs call the certificate of a node.
const clusterCertificate = "store.cluster"

// nodeTLS is for both ends of a connection between nodes: each shows its certificate, and takes what its own authority has issued for the
// address of a node.
func nodeTLS(held *certs.Store, hosts map[string]bool) *tls.Config {
	c := held.Server(certs.Server{Verify: func(state tls.ConnectionState) error {
		usages := []certs.Usage{certs.ServerAuth(), certs.ClientAuth()}
		path, err := certs.Verify(state.PeerCertificates, usages, held.Trust())
		if err != nil {
			return err
		}
		return ofNode(path.Leaf(), hosts)
	}})
	c.ClientAuth = tls.RequireAnyClientCert
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return c.GetCertificate(&tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12}})
	}
	c.InsecureSkipVerify = true // VerifyConnection above takes its place, at both ends
	return c
}

// ofNode tells whether a certificate is for the host of a node.
func ofNode(leaf *x509.Certificate, hosts map[string]bool) error {
	for host := range hosts {
		if leaf.VerifyHostname(host) == nil {
			return nil
		}
	}
	return errors.New("the certificate is for no node of the cluster")
}

// clusterFaults is the error of the node's certificate as faults of the configuration.
func clusterFaults(cfg *configs.Config, err error) error {
	var faults configs.Faults
	for _, f := range certs.FileFaults(err) {
		faults = append(faults, cfg.ClusterFault(f.Key, "the file "+certs.Quote(f.File)+" "+f.Problem, f.Instead))
	}
	if len(faults) > 0 {
		return faults
	}
	return err
}
