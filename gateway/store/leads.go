package store

import "github.com/nats-io/nats-server/v2/server"

// Leads tells whether this node leads the writing of what the gateways agree on, the leases among it: when it dies without a word, the others elect
// another one before anybody can write. It is false without a cluster, and on servers that are not ours.
func (s *Store) Leads() bool {
	e := s.now.Load()
	return e != nil && e.server != nil && s.clustered() && e.server.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, "KV_"+s.at.facts)
}
