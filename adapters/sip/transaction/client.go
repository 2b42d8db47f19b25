package transaction

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Result is the outcome of Do: a final response, or Err says why there is none.
type Result struct {
	// Response has a status of at least 200. nil with Err.
	Response *wire.Message
	// Sent tells that the request may have reached the peer, or still may because it waits in a connection's queue: then its outcome is
	// open, and nobody may send a second copy.
	Sent bool
	// Heard tells that a response came, provisional or final.
	Heard bool
	// Err is ErrTimeout, ErrTransport, ErrTooLarge, ErrOverloaded, ErrClosed or ErrInvalid, perhaps with another error wrapped beside.
	Err error
	// Branch names the transaction ("transaction identifier" of RFC 7572 §4).
	Branch string
	// Target is where it went in the end: over TCP where it was too large for UDP.
	Target resolver.Target
	// Began is when it was given to the socket, or a connection was asked for; zero where it came to neither.
	Began time.Time

	pooled *received // holds Response
}

// Release says that the caller has done with Response, and with all that its methods returned: its memory may then be of another. It is not
// needed, and saves an allocation for each response. Not more than once.
func (r *Result) Release() {
	if r.pooled != nil {
		r.pooled.free()
		r.pooled, r.Response = nil, nil
	}
}

// clientTx is a client transaction (RFC 3261 §17.1.2, Figure 6). Timer K is left out: it only absorbs responses that come again, and a
// response without a transaction is dropped anyway.
type clientTx struct {
	layer  *Layer
	branch string
	method string
	sentBy string
	target netip.AddrPort
	name   string      // what the far side had to prove, over TLS
	obeys  bool        // the request offered overload control
	result chan ending // capacity 1

	mu         sync.Mutex
	timer      timer
	done       bool
	proceeding bool
	interval   time.Duration // Timer E
	deadline   time.Time     // Timer F
	until      time.Time     // when the caller goes; zero: never. See WithUntil
	octets     *[]byte       // of the request, for UDP; nil when it is not sent again
	udp        packetSender
	sends      int // datagrams that left
	conn       *conn
	queuedTo   uint64          // the request is complete on conn when so many octets were written
	caller     <-chan struct{} // ends when the caller gives up; set before it is in the table
	// late is called for a response that comes once the caller has gone; see WithLate.
	late func(*wire.Message)
	gone bool // the caller has its Result, and the transaction goes on
}

// resultChannel is a channel for the Result of one transaction. It has room for it.
func (l *Layer) resultChannel() chan ending {
	if c, ok := l.results.Get().(chan ending); ok {
		return c
	}
	return make(chan ending, 1)
}

// ending is what a Result says of how a transaction ended.
type ending struct {
	response    *wire.Message
	pooled      *received // holds it
	err         error
	sent, heard bool
}

// Do sends req to target and waits for its final response, for 64*T1 (Timer F), or for the end of ctx. It blocks its caller only; any
// number of calls may run at once.
//
// RFC 3261 §18.1.1: a request larger than Bounds.Datagram goes over TCP to the same address with another Via; if TCP fails it is not
// sent at all, never over UDP (ErrTooLarge with Sent false).
//
// Hundreds of callers wait here at a time, each with what its stack holds by then, and to touch that again is a wait for memory. So what leads to
// the wait has returned before it.
func (l *Layer) Do(ctx context.Context, target resolver.Target, req *wire.Request) (r Result) {
	// Counted before it looks: Shutdown sees it, or it sees Shutdown.
	l.enter()
	defer l.leave()
	r.Target = target
	if tx := l.submit(ctx, req, &r); tx != nil {
		tx.wait(ctx, &r)
	}
	return r
}

// submit sends req to r.Target. It returns the transaction, whose result is not known yet; or nil, and r is the result.
//
//go:noinline
func (l *Layer) submit(ctx context.Context, req *wire.Request, r *Result) *clientTx {
	if l.closing.Load() || l.wheel == nil {
		r.Err = ErrClosed
		return nil
	}
	target := &r.Target
	if target.IsZero() || target.Protocol() != resolver.SIP {
		r.Err = fmt.Errorf("%w: no SIP target", ErrInvalid)
		return nil
	}
	if l.told.drop(overloadKey{target.Transport(), target.Addr()}, inDialog(req)) {
		l.metrics.drop(dropThrottled)
		r.Err = fmt.Errorf("%w: %s has asked for fewer requests", ErrOverloaded, target.Addr())
		return nil
	}
	scratch := getBuffer()
	defer putBuffer(scratch)
	switch target.Transport() {
	case resolver.UDP:
		tx, large := l.beginUDP(ctx, req, scratch, r)
		if large {
			*r = l.doLarge(ctx, *target, req, scratch)
		}
		return tx
	case resolver.TCP, resolver.TLS, resolver.WS, resolver.WSS:
		*r = l.doStream(ctx, *target, req, scratch)
		return nil
	default:
		r.Err = fmt.Errorf("%w: no transport %s", ErrTransport, target.Transport())
		return nil
	}
}

// doLarge is Do over TCP, for a request that is too large for UDP.
func (l *Layer) doLarge(ctx context.Context, target resolver.Target, req *wire.Request, scratch *[]byte) Result {
	over, err := resolver.NewTarget(resolver.TargetSpec{
		Protocol: resolver.SIP, Transport: resolver.TCP, Host: target.Host(), Addr: target.Addr(), ServerName: target.ServerName(),
	})
	if err != nil {
		return Result{Err: fmt.Errorf("%w: %w", ErrTooLarge, err), Target: target}
	}
	r := l.doStream(ctx, over, req, scratch)
	if r.Err != nil && !r.Sent && errors.Is(r.Err, ErrTransport) {
		r.Err = fmt.Errorf("%w: %w", ErrTooLarge, r.Err)
	}
	return r
}

// start makes the transaction and its octets.
func (l *Layer) start(req *wire.Request, target netip.AddrPort, transport, sentBy string, hop wire.HopParams, scratch *[]byte) (*clientTx, error) {
	tx := &clientTx{
		layer: l, branch: wire.NewBranch(req.BranchHint), method: req.Method, sentBy: sentBy, target: target, result: l.resultChannel(),
		obeys: hop.Overload,
	}
	tx.timer.owner = tx
	b, err := wire.AppendRequest((*scratch)[:0], req, wire.ViaSpec{
		Transport: transport, SentBy: sentBy, Branch: tx.branch, RPort: transport == "UDP", Hop: hop,
	})
	*scratch = b
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return tx, nil
}

// beginUDP is submit over UDP. It reports large, and sends nothing, for a request that must go over TCP.
func (l *Layer) beginUDP(ctx context.Context, req *wire.Request, scratch *[]byte, r *Result) (tx *clientTx, large bool) {
	addr := r.Target.Addr().Addr()
	if l.cfg.AllowAddr != nil {
		if err := l.cfg.AllowAddr(addr); err != nil {
			r.Err = fmt.Errorf("%w: %w", ErrTransport, err)
			return nil, false
		}
	}
	socket := l.socketFor(addr)
	if socket == nil {
		r.Err = fmt.Errorf("%w: no UDP listener of the address family of %s", ErrTransport, r.Target.Addr())
		return nil, false
	}
	return l.sendUDP(ctx, socket, req, scratch, r)
}

func (l *Layer) sendUDP(ctx context.Context, socket packetSender, req *wire.Request, scratch *[]byte, r *Result) (tx *clientTx, large bool) {
	tx, err := l.start(req, r.Target.Addr(), "UDP", socket.sentBy(), wire.HopParams{Overload: l.offers(r.Target)}, scratch)
	if err != nil {
		r.Err = err
		return nil, false
	}
	if len(*scratch) > l.bounds().Datagram {
		return nil, true
	}
	r.Branch = tx.branch
	tx.udp, tx.octets = socket, getBuffer()
	*tx.octets = append((*tx.octets)[:0], *scratch...)
	tx.late, _ = ctx.Value(lateKey{}).(func(*wire.Message))
	tx.until, tx.caller = until(ctx), ctx.Done()
	// Held from before it can be found until it is sent: who ends all transactions ends it before, or after.
	tx.mu.Lock()
	if !l.clients.add(tx, l.bounds().ClientTransactions) {
		tx.mu.Unlock()
		r.Err = ErrOverloaded
		return nil, false
	}
	l.metrics.requests[1][methodIndex(tx.method)].Inc()
	now := time.Now()
	r.Began = now
	tx.deadline = now.Add(l.transactionLife())
	tx.interval = l.cfg.T1
	l.tap(Outbound, *tx.octets)
	if err := socket.send(*tx.octets, slackOf(*tx.octets, len(req.Body), l.bounds().Datagram), tx.target, netip.Addr{}, tx); err != nil {
		tx.finish(ending{err: fmt.Errorf("%w: %w", ErrTransport, err)})
	} else {
		tx.sends++
		tx.wakeIn(now, tx.interval)
	}
	tx.mu.Unlock()
	return tx, false
}

func (l *Layer) doStream(ctx context.Context, target resolver.Target, req *wire.Request, scratch *[]byte) Result {
	began := time.Now()
	if t := until(ctx); !t.IsZero() {
		bounded, cancel := context.WithDeadline(ctx, t)
		defer cancel()
		ctx = bounded
	}
	local := ""
	if target.Transport() == resolver.TLS {
		local = domainOf(req.From)
	}
	c, err := l.pool.get(ctx, target, local)
	if err != nil {
		switch {
		case errors.Is(err, ErrOverloaded), errors.Is(err, ErrClosed):
		case ctx.Err() != nil:
			err = fmt.Errorf("%w: %w", ErrTimeout, err)
		default:
			err = fmt.Errorf("%w: %w", ErrTransport, err)
		}
		return Result{Err: err, Target: target, Began: began}
	}
	tx, err := l.start(req, target.Addr(), c.viaTransport(), l.streamSentBy(c), wire.HopParams{
		Overload: l.offers(target),
		// RFC 5923 §9.3: "virtual servers MUST NOT perform connection reuse for other connection-oriented transports".
		Alias: c.transport == resolver.TLS && !c.inbound,
		// RFC 6223 §4.3: "to negotiate the sending of keep-alives associated with a registration or a dialog".
		Keep: !c.inbound && req.Method == "SUBSCRIBE" && !inDialog(req),
	}, scratch)
	if err != nil {
		return Result{Err: err, Target: target, Began: began}
	}
	tx.late, _ = ctx.Value(lateKey{}).(func(*wire.Message))
	tx.caller, tx.conn = ctx.Done(), c
	if c.transport == resolver.TLS {
		tx.name = target.ServerName()
	}
	// Held from before it can be found until it is queued, as over UDP: who ends it in between would say that nothing was sent, and then it is.
	tx.mu.Lock()
	if !l.clients.add(tx, l.bounds().ClientTransactions) {
		tx.mu.Unlock()
		return Result{Err: ErrOverloaded, Target: target, Branch: tx.branch, Began: began}
	}
	l.metrics.requests[1][methodIndex(tx.method)].Inc()
	l.tap(Outbound, *scratch)
	now := time.Now()
	tx.deadline = now.Add(l.transactionLife())
	l.wheel.set(now, &tx.timer, l.transactionLife())
	err = c.enqueueFor(tx, *scratch)
	tx.mu.Unlock()
	if err != nil {
		tx.fail(err, false)
	}
	r := Result{Target: target, Began: began}
	tx.wait(ctx, &r)
	return r
}

// offers tells whether requests to a target say that we obey RFC 7339.
func (l *Layer) offers(target resolver.Target) bool {
	return l.cfg.OfferOverload == nil || l.cfg.OfferOverload(target)
}

// transport is how the request went.
func (tx *clientTx) transport() resolver.Transport {
	if tx.conn != nil {
		return tx.conn.transport
	}
	return resolver.UDP
}

// inDialog reports whether a request is within a dialog: its To has a tag.
func inDialog(req *wire.Request) bool {
	at := strings.LastIndexByte(req.To, '>')
	return strings.Contains(req.To[at+1:], ";tag=")
}

// domainOf is the host of the URI in a From value, "" if it has none: the domain on whose behalf the request is sent.
func domainOf(from string) string {
	a, err := wire.ParseAddr(from)
	if err != nil {
		return ""
	}
	if host := a.URI().Host(); host != "" {
		return strings.ToLower(strings.Clone(host)) // it is kept for longer than the request
	}
	_, host, _ := strings.Cut(a.URI().String(), "@") // im: and pres: have no structure that URI knows
	return strings.ToLower(strings.Clone(host))
}

// wait blocks until the transaction has its result, and writes it into r, which has the target.
func (tx *clientTx) wait(ctx context.Context, r *Result) {
	var e ending
	l := tx.layer
	switch {
	case l.life.Err() != nil: // who ends all may have looked before it was there
		tx.fail(ErrClosed, false)
		e = <-tx.result
	case l.callers.watch(ctx, &l.clients):
		e = <-tx.result
	default:
		select {
		case e = <-tx.result:
		case <-ctx.Done():
			tx.mu.Lock()
			tx.abandon(ctx.Err())
			tx.mu.Unlock()
			e = <-tx.result
		}
	}
	l.results.Put(tx.result) // there is only one: see finish and abandon
	r.Response, r.Err, r.Sent, r.Heard, r.pooled = e.response, e.err, e.sent, e.heard, e.pooled
	r.Branch = tx.branch
}

// abandon gives the caller, who does not wait any longer, the Result of that. The transaction ends, unless somebody wants to hear of a late
// response. tx.mu is held.
func (tx *clientTx) abandon(cause error) {
	if tx.done || tx.gone {
		return
	}
	r := ending{err: fmt.Errorf("%w: %w", ErrTimeout, cause)}
	if tx.late == nil || tx.sends == 0 && (tx.conn == nil || !tx.conn.forget(tx)) {
		tx.finish(r)
		return
	}
	tx.gone = true
	tx.drop()
	r.sent, r.heard = true, tx.proceeding
	tx.result <- r
}

// drop forgets the octets of the request. tx.mu is held.
func (tx *clientTx) drop() {
	if tx.octets != nil {
		putBuffer(tx.octets)
		tx.octets = nil
	}
}

// wakeIn sets the timer for d from now, or for when the caller goes, if that is sooner. tx.mu is held.
func (tx *clientTx) wakeIn(now time.Time, d time.Duration) {
	if !tx.until.IsZero() && !tx.gone {
		d = min(d, max(0, tx.until.Sub(now)))
	}
	tx.layer.wheel.set(now, &tx.timer, d)
}

// finish ends the transaction with r, whose sent and heard it sets. tx.mu is held.
func (tx *clientTx) finish(r ending) {
	if tx.done {
		return
	}
	tx.done = true
	tx.layer.wheel.stop(&tx.timer)
	tx.layer.clients.remove(tx)
	r.sent = tx.sends > 0
	r.heard = tx.proceeding || r.response != nil
	if tx.conn != nil {
		r.sent = tx.conn.forget(tx) || r.sent
	}
	if r.response != nil {
		r.sent = true
	}
	tx.drop()
	if !tx.gone {
		tx.result <- r
	} else if r.response != nil {
		tx.late(r.response)
	}
}

// fail ends the transaction because its transport did. bounced tells that the one datagram which an error message (ICMP) came back for
// did not arrive.
func (tx *clientTx) fail(err error, bounced bool) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.done {
		return
	}
	if bounced && tx.sends > 0 {
		tx.sends--
	}
	if !errors.Is(err, ErrOverloaded) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrTransport) {
		err = fmt.Errorf("%w: %w", ErrTransport, err)
	}
	tx.finish(ending{err: err})
}

// expire is Timer E or F. RFC 3261 §17.1.2.2: "the timer is reset, but this time with a value of MIN(2*T1, T2)", then doubled up to T2; in Proceeding it
// is T2.
func (tx *clientTx) expire() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.done {
		return
	}
	l, now := tx.layer, time.Now()
	left := tx.deadline.Sub(now)
	if left <= 0 {
		tx.finish(ending{err: ErrTimeout})
		return
	}
	if !tx.until.IsZero() && !tx.gone && !now.Before(tx.until) {
		if tx.abandon(context.DeadlineExceeded); tx.done {
			return
		}
	}
	if tx.conn != nil || tx.gone {
		l.wheel.set(now, &tx.timer, left)
		return
	}
	tx.interval = min(2*tx.interval, l.cfg.T2)
	if tx.proceeding {
		tx.interval = l.cfg.T2
	}
	tx.wakeIn(now, min(tx.interval, left))
	l.tap(Outbound, *tx.octets)
	// Alone: the system reports of datagrams that went together only one as not delivered.
	if err := tx.udp.send(*tx.octets, slack{}, tx.target, netip.Addr{}, tx); err != nil {
		tx.finish(ending{err: fmt.Errorf("%w: %w", ErrTransport, err)})
		return
	}
	tx.sends++
	l.metrics.resent.requestOut.Inc()
}

// clientTable finds the transaction of a response by its branch, which has more than 64 random bits.
type clientTable struct {
	count atomic.Int64
	part  [shards]struct {
		mu sync.Mutex
		tx map[string]*clientTx
	}
}

func (t *clientTable) init() {
	for i := range t.part {
		t.part[i].tx = map[string]*clientTx{}
	}
}

// slot picks a part by the first random octet of the branch.
func slot(branch string) int {
	if len(branch) > len(wire.MagicCookie) {
		return int(branch[len(wire.MagicCookie)]) % shards
	}
	return 0
}

func (t *clientTable) add(tx *clientTx, limit int) bool {
	if t.count.Add(1) > int64(limit) {
		t.count.Add(-1)
		return false
	}
	p := &t.part[slot(tx.branch)]
	p.mu.Lock()
	p.tx[tx.branch] = tx
	p.mu.Unlock()
	return true
}

func (t *clientTable) find(branch string) *clientTx {
	p := &t.part[slot(branch)]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tx[branch]
}

func (t *clientTable) remove(tx *clientTx) {
	p := &t.part[slot(tx.branch)]
	p.mu.Lock()
	delete(p.tx, tx.branch)
	p.mu.Unlock()
	t.count.Add(-1)
}

// each calls f for every transaction that is there.
func (t *clientTable) each(f func(tx *clientTx)) {
	for i := range t.part {
		p := &t.part[i]
		p.mu.Lock()
		all := make([]*clientTx, 0, len(p.tx))
		for _, tx := range p.tx {
			all = append(all, tx)
		}
		p.mu.Unlock()
		for _, tx := range all {
			f(tx)
		}
	}
}

// failAll ends every transaction.
func (t *clientTable) failAll(err error) { t.each(func(tx *clientTx) { tx.fail(err, false) }) }

// response gives a response to its transaction, or drops it. RFC 3261 §17.1.3: it must match in branch and in the method of CSeq;
// §18.1.2: "If the value of the "sent-by" parameter ... does not correspond to a value that the client transport is configured to insert
// into requests, the response MUST be silently discarded"; §8.1.3.3: with more than one Via "the UAC SHOULD discard the message". It must
// also come from the address that the request went to, which a forger off the path cannot fake on a connection.
//
// It reports whether somebody has the message now; pooled is what holds it, if that can be used again.
func (t *clientTable) response(l *Layer, m *wire.Message, o origin, pooled *received) (kept bool) {
	if m.ViaCount() != 1 {
		l.metrics.drop(dropVias)
		return false
	}
	via := m.TopVia()
	tx := t.find(via.Branch())
	if tx == nil {
		l.metrics.drop(dropStray)
		return false
	}
	if m.Method() != tx.method || !strings.EqualFold(via.SentBy(), tx.sentBy) || o.remote.Addr().WithZone("") != tx.target.Addr().WithZone("") {
		l.metrics.drop(dropForeign)
		return false
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.done {
		return false
	}
	if tx.conn != o.conn && (tx.conn == nil || o.conn == nil || tx.conn.transport != o.conn.transport || tx.name != "" && !o.conn.proves(tx.name)) {
		// Another transport than that of the request, or somebody who has not proven what its receiver had to.
		l.metrics.drop(dropForeign)
		return false
	}
	// RFC 7339 §11: behind a server that does not know overload control anybody could write a value into our Via, so it is taken only
	// from one that was offered to obey.
	if o, ok := via.Overload(); ok && tx.obeys {
		l.told.learn(overloadKey{tx.transport(), tx.target}, o)
	}
	if m.StatusCode() >= 200 {
		if every, ok := via.KeepInterval(); ok && tx.conn != nil && !tx.conn.inbound && m.StatusCode() < 300 {
			tx.conn.ping.start(every, keepLife)
		}
		tx.finish(ending{response: m, pooled: pooled})
		return true
	}
	if !tx.proceeding && tx.conn == nil {
		now := time.Now()
		tx.wakeIn(now, min(l.cfg.T2, max(0, tx.deadline.Sub(now))))
	}
	tx.proceeding = true
	return false
}
