package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Source names the files of one certificate.
type Source struct {
	// Name is what logs, metrics and faults call it.
	Name string
	// ChainFile is PEM: the certificate, then each one's issuer, as it is to be presented. The anchor need not be there.
	ChainFile string
	// KeyFile is PEM: the private key in PKCS #8, SEC 1 or PKCS #1, not encrypted; nobody but its owner may use the file.
	KeyFile string
}

// maxFile bounds a PEM file in octets, maxChain the certificates of a chain, maxRoots those of a file of anchors.
const (
	maxFile  = 4 << 20
	maxChain = maxPresented
	maxRoots = 4096
)

// FileFault is one thing wrong with a file. It holds nothing of what is in it.
type FileFault struct {
	// Name is the Source's name, or "" for the anchors.
	Name string
	// Key is the key of the configuration that names the file: "chain_file", "key_file" or "roots_file".
	Key string
	// File is the file.
	File string
	// Problem is what is wrong, Instead what to do.
	Problem, Instead string
}

// Error is the fault on one line.
func (f *FileFault) Error() string {
	s := "tls." + f.Key
	if f.Name != "" {
		s = "tls certificate " + f.Name + ": " + f.Key
	}
	return s + ": " + Quote(f.File) + " " + f.Problem + "; " + f.Instead
}

// readFile reads a file of PEM. Opened first and asked afterwards, so that the mode is that of the octets that are read.
func readFile(f FileFault, secret bool) ([]byte, error) {
	fault := func(problem, instead string) error {
		f.Problem, f.Instead = problem, instead
		return &f
	}
	file, err := os.OpenFile(f.File, os.O_RDONLY|openNonblock, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault("does not exist", "create it, or name another")
	case errors.Is(err, fs.ErrPermission):
		return nil, fault("may not be read by the user that isthmus runs as", "give it to that user")
	case err != nil:
		return nil, fault("cannot be opened", "name a file in PEM")
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return nil, fault("is no regular file", "name a file in PEM")
	case secret && info.Mode().Perm()&0o077 != 0:
		return nil, fault(fmt.Sprintf("has mode %04o: others than its owner may use it", info.Mode().Perm()), "run chmod 600 on it")
	}
	octets, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, fault("cannot be read", "name a file in PEM")
	case len(octets) > maxFile:
		return nil, fault("is longer than 4MiB", "name a file that holds the certificates or the key alone")
	}
	return octets, nil
}

// readCertificates reads all certificates of a file.
func readCertificates(f FileFault, most int) ([]*x509.Certificate, error) {
	octets, err := readFile(f, false)
	if err != nil {
		return nil, err
	}
	fault := func(problem, instead string) error {
		f.Problem, f.Instead = problem, instead
		return &f
	}
	var found []*x509.Certificate
	for {
		var block *pem.Block
		if block, octets = pem.Decode(octets); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			if strings.Contains(block.Type, "PRIVATE KEY") {
				return nil, fault("holds a private key", "keep the key in a file of its own, with mode 0600")
			}
			return nil, fault("holds something other than certificates", "keep the CERTIFICATE blocks alone")
		}
		if len(found) == most {
			return nil, fault(fmt.Sprintf("holds more than %d certificates", most), "remove those that are not needed")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault(fmt.Sprintf("holds a certificate (number %d) that cannot be read", len(found)+1), "have it issued anew")
		}
		found = append(found, c)
	}
	switch {
	case bytes.Contains(octets, []byte("-----BEGIN ")):
		return nil, fault("holds a PEM block that is not whole", "copy it again")
	case len(found) == 0:
		return nil, fault("holds no certificate in PEM", "name a file with BEGIN CERTIFICATE in it")
	}
	return found, nil
}

// ReadChain reads a file of certificates in PEM, at most 16, for credentials that are none of the gateway's own. It fails with a
// *FileFault whose Name and Key are name and key.
func ReadChain(name, key, file string) ([]*x509.Certificate, error) {
	return readCertificates(FileFault{Name: name, Key: key, File: file}, maxChain)
}

// ReadRoots reads a file of trust anchors in PEM that are none of TLS. It fails with a *FileFault whose Name and Key are name and key.
func ReadRoots(name, key, file string) ([]*x509.Certificate, error) {
	return readCertificates(FileFault{Name: name, Key: key, File: file}, maxRoots)
}

// readKey reads the one private key of a file.
func readKey(f FileFault) (crypto.Signer, error) {
	octets, err := readFile(f, true)
	if err != nil {
		return nil, err
	}
	fault := func(problem, instead string) error {
		f.Problem, f.Instead = problem, instead
		return &f
	}
	const remake = "write the key with `openssl pkey`"
	var key any
	for {
		var block *pem.Block
		if block, octets = pem.Decode(octets); block == nil {
			break
		}
		if block.Type == "EC PARAMETERS" {
			continue // what `openssl ecparam` puts in front
		}
		if key != nil {
			return nil, fault("holds more than one key", "keep one")
		}
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, fault("is encrypted", "write it without a passphrase, with mode 0600")
			}
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, fault("is encrypted", "write it without a passphrase, with mode 0600")
		default:
			return nil, fault("holds something other than a private key", "keep the key alone")
		}
		if err != nil {
			return nil, fault("holds a key that cannot be read", remake)
		}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fault("holds no private key in PEM that can sign", remake)
	}
	return signer, nil
}

// held is one certificate in memory.
type held struct {
	name  string
	tls   tls.Certificate
	chain []*x509.Certificate
	names Names
}

// load reads one certificate with its key, and everything that is wrong with it.
func load(s Source) (*held, error) {
	chainFault := FileFault{Name: s.Name, Key: "chain_file", File: s.ChainFile}
	keyFault := FileFault{Name: s.Name, Key: "key_file", File: s.KeyFile}
	chain, chainErr := readCertificates(chainFault, maxChain)
	key, keyErr := readKey(keyFault)
	if err := errors.Join(chainErr, keyErr); err != nil {
		return nil, err
	}
	fault := func(f FileFault, problem, instead string) error {
		f.Problem, f.Instead = problem, instead
		return &f
	}
	leaf := chain[0]
	for i, c := range chain[:len(chain)-1] {
		if !bytes.Equal(c.RawIssuer, chain[i+1].RawSubject) || c.CheckSignatureFrom(chain[i+1]) != nil {
			return nil, fault(chainFault, fmt.Sprintf("is out of order: certificate %d is not issued by certificate %d", i+1, i+2),
				"write the gateway's own certificate first, then its issuer, then the issuer's issuer")
		}
	}
	if leaf.BasicConstraintsValid && leaf.IsCA {
		return nil, fault(chainFault, "begins with the certificate of a CA", "write the gateway's own certificate first (RFC 6120 §13.7.1.1 allows no CA there)")
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, fault(keyFault, "does not belong to the certificate", "name the key that the certificate was requested with")
	}
	if err := checkKey(leaf); err != nil {
		return nil, fault(chainFault, "cannot be used: an RSA key has 2048 to 8192 bits", "have it issued for another key")
	}
	names, err := ParseNames(leaf)
	if err != nil {
		return nil, fault(chainFault, "has names that no peer can read ("+err.Error()+")", "have it issued anew")
	}
	h := &held{name: s.Name, chain: chain, names: names, tls: tls.Certificate{PrivateKey: key, Leaf: leaf}}
	for _, c := range chain {
		h.tls.Certificate = append(h.tls.Certificate, c.Raw)
	}
	return h, nil
}

// expiry is when the first certificate of the chain ends.
func (h *held) expiry() time.Time {
	end := h.chain[0].NotAfter
	for _, c := range h.chain[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// valid reports whether the whole chain is valid at now.
func (h *held) valid(now time.Time) bool {
	for _, c := range h.chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return false
		}
	}
	return true
}

// loadRoots reads the anchors: of a file, or of the system if file is "".
func loadRoots(file string) (*x509.CertPool, error) {
	f := FileFault{Key: "roots_file", File: file}
	if file == "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			f.Problem, f.Instead = "the system has no trust anchors that can be read", "name a roots_file"
			return nil, &f
		}
		return pool, nil
	}
	roots, err := readCertificates(f, maxRoots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	return pool, nil
}

// FileFaults are the faults in an error of Open or Reload, in the order in which they were found.
func FileFaults(err error) []*FileFault {
	var found []*FileFault
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) {
		case *FileFault:
			found = append(found, e)
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				walk(one)
			}
		}
	}
	walk(err)
	return found
}
