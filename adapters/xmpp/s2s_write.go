package xmpp

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stream"
)

// kick tells the stream that a pair has something to write. The pair's outbox may be locked.
func (s *session) kick(p *pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.pairs[p]
	if s.over || l == nil || l.ready {
		return
	}
	l.ready = true
	s.queue = append(s.queue, p)
	s.write()
}

// say queues an element that goes before the stanzas that have not left. A peer that does not read the answers it asks for is closed.
func (s *session) say(octets []byte) { s.queueElement(&s.control, octets) }

// acknowledge queues an element that goes after the stanzas that wait: the error that answers a stanza is there before the count that
// covers it.
func (s *session) acknowledge(octets []byte) { s.queueElement(&s.acks, octets) }

func (s *session) queueElement(to *[]byte, octets []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if len(*to)+len(octets) > maxControl {
		s.v.spawn(func() {
			s.end(&stream.Fault{Condition: stream.PolicyViolation, Rule: "more requests than answers are read", Section: "RFC 6120 §13.12"})
		})
		return
	}
	*to = append(*to, octets...)
	s.write()
}

// write starts the goroutine that writes, unless it is at work. The caller holds the lock.
func (s *session) write() {
	if !s.writing && s.broken == nil {
		s.writing = true
		s.v.spawn(s.pump)
	}
}

// buffers are what is written from, so that an idle stream has none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// batch is what one pair gave to one write.
type batch struct {
	p     *pair
	items []*item
	n     int // stanzas
}

// pump writes what there is, as much as is ready in one write, until there is nothing.
func (s *session) pump() {
	box := buffers.Get().(*[]byte)
	buf := *box
	var batches []batch
	var acks []byte
	defer func() {
		if cap(buf) <= 4*maxBatch {
			*box = buf[:0]
			buffers.Put(box)
		}
	}()
	for {
		// Whoever is ready to run may have something to write too: then it goes in the same write.
		runtime.Gosched()
		s.mu.Lock()
		if s.over || len(s.control) == 0 && len(s.acks) == 0 && len(s.queue) == 0 {
			s.writing = false
			s.rest.Broadcast()
			s.mu.Unlock()
			return
		}
		buf = append(buf[:0], s.control...)
		s.control = s.control[:0]
		acks = append(acks[:0], s.acks...)
		s.acks = s.acks[:0]
		g := s.ledger
		// As many pairs as there are, each with its share, but no more than one batch in all.
		ready := slices.Clone(s.queue)
		s.queue = s.queue[:0]
		for _, p := range ready {
			s.pairs[p].ready = false
		}
		s.mu.Unlock()
		now := time.Now()
		batches = batches[:0]
		for i, p := range ready {
			if len(buf) >= maxBatch {
				for _, rest := range ready[i:] {
					s.kick(rest)
				}
				break
			}
			b := batch{p: p}
			before := len(buf)
			if g != nil {
				buf, b.items, b.n = p.box.takeCounted(buf, maxBatch, now)
			} else {
				var ping string
				if buf, b.items, ping = p.box.take(buf, maxBatch, s.forced(p), now); ping != "" {
					buf = stanza.AppendPing(buf, p.self, p.pinged, ping)
				}
			}
			if len(buf) > before {
				batches = append(batches, b)
			}
		}
		if g != nil && len(batches) > 0 {
			buf = g.leaving(buf, batches, now)
		}
		buf = append(buf, acks...)
		if len(buf) == 0 {
			continue
		}
		if len(batches) > 0 {
			s.carried.Store(now.UnixNano())
		}
		n, err := s.conn.Write(buf, now.Add(s.v.a.lim().WriteTimeout))
		s.seen.Store(time.Now().UnixNano())
		if err != nil {
			s.fault(err, batches, g, n == 0)
			return
		}
		for _, b := range batches {
			stanzas := 0
			for _, it := range b.items {
				s.v.a.tapped(adapters.Outbound, it.octets)
				stanzas += it.count()
			}
			b.p.traffic().out.Add(float64(stanzas))
			if g == nil {
				b.p.box.written(b.items)
			}
		}
		if cap(buf) > 4*maxBatch {
			buf = nil
		}
	}
}

// fault ends the stream after a failed write. A server that closes says why before it does (RFC 6120 §4.9.1.1), which the reader may
// just be reading, so it gets the time for it.
func (s *session) fault(err error, batches []batch, g *ledger, nothing bool) {
	if nothing {
		for _, b := range slices.Backward(batches) {
			if len(b.items) > 0 || g == nil {
				b.p.box.unsend()
			}
		}
		if g != nil {
			g.stayed(batches)
		}
	}
	s.mu.Lock()
	s.writing, s.broken = false, err
	s.rest.Broadcast()
	wait := !s.over && !s.unproven.Load()
	s.mu.Unlock()
	if wait && s.conn.SetReadDeadline(time.Now().Add(lastWords)) == nil {
		return
	}
	s.end(err)
}
