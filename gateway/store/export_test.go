package store

import "context"

// Kill cuts a node off from the others at once, as a process that dies does: it hands nothing over.
func Kill(s *Store) {
	if e := s.now.Load(); e != nil {
		e.conn.Close()
		e.server.ShutdownJetStream() //nolint:errcheck // it dies
	}
}

// CaughtUp tells whether a node's copies are those of the others.
func CaughtUp(s *Store) bool {
	e := s.now.Load()
	return e != nil && e.server.JetStreamIsStreamCurrent("$G", s.at.journal) && e.server.JetStreamIsStreamCurrent("$G", "KV_"+s.at.facts)
}

// TidyFacts has the log of the facts tidied as if it were allowed to be so many octets larger than it needs.
func TidyFacts(s *Store, from uint64) error { return s.tidyFacts(context.Background(), from) }
