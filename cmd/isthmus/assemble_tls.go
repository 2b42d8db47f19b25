package main

import (
	"os"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
	"github.com/isthmus-gateway/isthmus/internal/certs"
)

// openCertificates reads the certificates and trust anchors; nil if the configuration says nothing of TLS. Each file that cannot be
// used is a fault of the configuration, at the key that names it.
func openCertificates(cfg *configs.Config, with surroundings) (*certs.Store, error) {
	if !cfg.TLS.Used() {
		return nil, nil
	}
	c := certs.Config{RootsFile: string(cfg.TLS.RootsFile), Logger: with.part("tls"), Registerer: with.registry}
	for _, one := range cfg.TLS.Certificates {
		c.Certificates = append(c.Certificates, certs.Source{Name: string(one.Name), ChainFile: string(one.ChainFile), KeyFile: string(one.KeyFile)})
	}
	store, err := certs.Open(c)
	var faults configs.Faults
	for _, f := range certs.FileFaults(err) {
		faults = append(faults, cfg.TLSFault(f.Name, f.Key, "the file "+certs.Quote(f.File)+" "+f.Problem, f.Instead))
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return store, err
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

// hangups takes SIGHUP out of signals: it reads the certificates anew, and the gateway goes on. Everything else is passed on. It ends with
// done.
func hangups(done <-chan struct{}, signals <-chan os.Signal, store *certs.Store, logger zerolog.Logger) <-chan os.Signal {
	others := make(chan os.Signal, 2)
	go func() {
		for {
			select {
			case s := <-signals:
				switch {
				case s != syscall.SIGHUP:
					select {
					case others <- s:
					default: // two are waiting already: the second of them ends at once
					}
				case store == nil:
					logger.Info().Msg("SIGHUP: there are no certificates to read anew; the rest of the configuration is read at the start only")
				default:
					// The store says itself what came of it.
					if err := store.Reload(); err != nil && len(certs.FileFaults(err)) == 0 {
						logger.Error().Err(err).Msg("SIGHUP")
					}
				}
			case <-done:
				return
			}
		}
	}()
	return others
}
