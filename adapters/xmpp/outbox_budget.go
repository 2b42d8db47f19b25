package xmpp

import "sync/atomic"

// budget bounds the octets that wait in several outboxes together. nil bounds nothing.
type budget struct {
	most atomic.Int64
	used atomic.Int64
}

// room tells whether so many more octets may wait. Answers that nobody of ours waits for get half of it: whoever asks for them, from as
// many domains as they like, takes no room from messages.
func (g *budget) room(n int, it *item) bool {
	if g == nil {
		return true
	}
	most := g.most.Load()
	if it.done == nil {
		most /= 2
	}
	return g.used.Load()+int64(n) <= most
}

// grow notes that so many more octets wait. The caller holds the lock.
func (b *outbox) grow(n int) {
	b.bytes += n
	if b.all != nil {
		b.all.used.Add(int64(n))
	}
}

// wake is the poke of a writer that waits for a channel.
type wake chan struct{}

func newWake() wake { return make(wake, 1) } // has room for one: there is something to do

func (w wake) poke() {
	select {
	case w <- struct{}{}:
	default:
	}
}
