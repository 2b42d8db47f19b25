package main

import (
	"os"
	"syscall"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/certs"
)

// openCertificates reads the certificates and trust anchors; nil if the configuration says nothing of TLS. Each file that cannot be
// used is a fault of the configuration, at the key that names it.
func openCertificates(cfg *configs.Config, with surroundings) (*certs.Store, error) {
	if !cfg.TLS.Used() {
		return nil, nil
	}
	store, err := certs.Open(certsConfig(cfg, with))
	return store, tlsFaults(cfg, err)
}

func certsConfig(cfg *configs.Config, with surroundings) certs.Config {
	c := certs.Config{RootsFile: string(cfg.TLS.RootsFile), Logger: with.part("tls"), Registerer: with.registry}
	for _, one := range cfg.TLS.Certificates {
		c.Certificates = append(c.Certificates, certs.Source{Name: string(one.Name), ChainFile: string(one.ChainFile), KeyFile: string(one.KeyFile)})
	}
	return c
}

// tlsFaults is the error of a store as faults of the configuration, where it is about files.
func tlsFaults(cfg *configs.Config, err error) error {
	var faults configs.Faults
	for _, f := range certs.FileFaults(err) {
		faults = append(faults, cfg.TLSFault(f.Name, f.Key, "the file "+certs.Quote(f.File)+" "+f.Problem, f.Instead))
	}
	if len(faults) > 0 {
		return faults
	}
	return err
}

// certificateFindings is what check says of the certificates: whose they are, how long they last, and what peers will not like.
func certificateFindings(store *certs.Store) []finding {
	if store == nil {
		return nil
	}
	warnings := make(map[string][]certs.Warning)
	for _, w := range store.Warnings() {
		warnings[w.Name] = append(warnings[w.Name], w)
	}
	var found []finding
	for _, h := range store.Held() {
		f := finding{What: "certificate", OK: true, Name: h.Name, Detail: "until " + h.Until.UTC().Format("2006-01-02 15:04 MST")}
		for _, names := range [][]string{h.Names.DNS, h.Names.URI, h.Names.SRV, h.Names.XMPPAddr} {
			f.As = append(f.As, names...)
		}
		for _, w := range warnings[h.Name] {
			f.OK = f.OK && w.Kind == certs.ExpiresSoon
			f.Detail += "; " + w.String()
		}
		found = append(found, f)
	}
	return found
}

// hangups takes SIGHUP out of signals: the configuration is read again, and the gateway goes on. Everything else is passed on. One that comes
// before ready is dealt with then; those that come during a reload are one more. It ends with done.
func hangups(done <-chan struct{}, ready <-chan struct{}, signals <-chan os.Signal, reload func()) <-chan os.Signal {
	others, asked := make(chan os.Signal, 2), make(chan struct{}, 1)
	go func() {
		select {
		case <-ready:
		case <-done:
			return
		}
		for {
			select {
			case <-asked:
				reload()
			case <-done:
				return
			}
		}
	}()
	go func() {
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGHUP {
					select {
					case asked <- struct{}{}:
					default: // it is about to be read anyway
					}
					continue
				}
				select {
				case others <- s:
				default: // two are waiting already: the second of them ends at once
				}
			case <-done:
				return
			}
		}
	}()
	return others
}
