package configs

import (
	"path/filepath"
	"strconv"
)

// TLS is the gateway's certificates, for SIP and XMPP alike.
type TLS struct {
	// The gateway's own certificates. Which one is shown follows from the domain that a connection is for: the first with that name,
	// then one with a wildcard for it. To a client that names no domain the first is shown.
	Certificates []Certificate `yaml:"certificates"`
	// The certificates of the authorities that peers' certificates must lead to, in PEM. Without it: those of the system. A relative
	// path starts at the folder of this file.
	RootsFile Path `yaml:"roots_file" example:"/etc/isthmus/roots.pem"`
}

// Certificate is one certificate of the gateway with its key.
type Certificate struct {
	// Its name in logs and metrics: letters, digits, dots, hyphens and underscores, at most 63.
	Name Name `yaml:"name" required:"true" example:"example-net"`
	// The file that holds the certificate in PEM, and after it those of the authorities between it and the root, each after the one
	// that it issued. The names that count are those in subjectAltName: "sip:example.net" or example.net as DNS name for SIP,
	// "_xmpp-server.example.net" (SRVName) or a DNS name for XMPP; never the subject's. A relative path starts at the folder of
	// this file.
	ChainFile Path `yaml:"chain_file" required:"true" example:"/etc/isthmus/example.net.crt"`
	// The file that holds its private key in PEM, not encrypted: ECDSA, Ed25519, or RSA of 2048 to 8192 bits. Nobody but its owner
	// may use the file (mode 0600 or 0400).
	KeyFile Path `yaml:"key_file" required:"true" example:"/etc/isthmus/example.net.key"`
}

// Used reports whether the key tls says anything.
func (t TLS) Used() bool { return len(t.Certificates) > 0 || t.RootsFile != "" }

// from makes relative paths start at folder.
func (t *TLS) from(folder string) {
	absolute := func(p *Path) {
		if *p != "" && !filepath.IsAbs(string(*p)) {
			*p = Path(filepath.Join(folder, string(*p)))
		}
	}
	absolute(&t.RootsFile)
	for i := range t.Certificates {
		absolute(&t.Certificates[i].ChainFile)
		absolute(&t.Certificates[i].KeyFile)
	}
}

// from makes relative paths start at folder.
func (p *Policy) from(folder string) {
	if f := &p.SignatureRootsFile; *f != "" && !filepath.IsAbs(string(*f)) {
		*f = Path(filepath.Join(folder, string(*f)))
	}
}

// from makes relative paths start at folder.
func (s *SIP) from(folder string) {
	for i := range s.Signers {
		if p := &s.Signers[i].CertificateFile; *p != "" && !filepath.IsAbs(string(*p)) {
			*p = Path(filepath.Join(folder, string(*p)))
		}
	}
}

// SignerFault is a Fault at the certificate of sip.signers with this info, for what is found when the file is read.
func (c *Config) SignerFault(info, problem, instead string) Fault {
	path := "sip.signers"
	for i, s := range c.SIP.Signers {
		if string(s.Info) == info {
			path = index("sip.signers", i, "certificate_file")
		}
	}
	return c.origin.fault(path, valueFault{problem, instead})
}

func (k *checker) tls() {
	names := make(map[Name]string)
	for i, c := range k.TLS.Certificates {
		unique(k, names, c.Name, index("tls.certificates", i, "name"), "the same name", "give each certificate a name of its own")
	}
}

// TLSFault is a Fault at a file under tls, for what is found when the file is read: key is chain_file or key_file of the certificate
// with that name, or roots_file with name "".
func (c *Config) TLSFault(name, key, problem, instead string) Fault {
	path := "tls." + key
	for i, one := range c.TLS.Certificates {
		if name != "" && string(one.Name) == name {
			path = "tls.certificates[" + strconv.Itoa(i) + "]." + key
		}
	}
	return c.origin.fault(path, valueFault{problem, instead})
}
