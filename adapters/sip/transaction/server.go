package transaction

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
)

// shards is how many parts the tables have, each with a mutex of its own.
const shards = 16

// serverState is a state of the non-INVITE server transaction (RFC 3261 §17.2.2, Figure 8).
type serverState uint8

const (
	serverTrying     serverState = iota // no response yet
	serverProceeding                    // 100 was sent
	serverCompleted                     // the final response was sent; serverTable.done has it until Timer J
	serverTerminated
)

// ServerTx is a server transaction until its final response. Respond may be called from any goroutine. What is kept of it afterwards, for
// copies of its request, is in serverTable.done.
type ServerTx struct {
	layer    *Layer
	key      hashKey
	stateful bool // it is in the table
	merges   bool
	merge    hashKey
	route    route

	mu       sync.Mutex
	state    serverState
	timer    timer
	req      *wire.Message // nil once answered
	held     *held         // what req is part of; nil: it is of nobody else afterwards
	response []byte        // the provisional one, for copies of the request
	// Of a MESSAGE: what it is remembered by (see answerTable), and its copies in other transactions, which get the same answer.
	message   hashKey
	followers []*ServerTx
	expired   bool // it ended without an answer, which may still come and then is for copies
}

// RespondOptions is everything of a response but its code and phrase.
type RespondOptions struct {
	ToTag   string // "" makes a random one if To has none
	Headers []wire.Header
	// Spare are header fields that are useful and not needed: they are left out, the last one first, where the response would be over
	// 1.2 times as large as a request that came over UDP (THREATS S11).
	Spare       []wire.Header
	ContentType string
	Body        []byte
	// Forget ends the transaction with the response, so that nothing is kept of a request that proved nothing (RFC 3261 §26.3.2.4): a copy
	// of it is handled anew.
	Forget bool
}

// Respond sends a response; reason "" means the default phrase. The first final response wins: after it, and after 64*T1, Respond fails
// with ErrAnswered. On UDP copies of the request are then answered with the same response for 64*T1 (Timer J). It fails with ErrInvalid if
// the message cannot be written (the transaction then still waits for an answer) and with ErrTransport if it could not be sent, which
// ends the transaction (RFC 3261 §17.2.4). RFC 4320 §4.1: of the provisional responses only 100 may go out, and the layer sends it by
// itself when it is time; others are ErrInvalid, and so is 408 (RFC 4320 §4.2).
func (tx *ServerTx) Respond(code int, reason string, opts RespondOptions) error {
	if code < 200 && code != 100 || code > 699 || code == 408 {
		return fmt.Errorf("%w: status %d to a request that is not INVITE", ErrInvalid, code)
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	switch {
	case tx.state >= serverCompleted:
		if tx.expired && code >= 200 {
			tx.expired = false
			l := tx.layer
			tag := wire.NewTag()
			now := time.Now()
			l.answers.drop(now, tx.message)
			r, more := replyOf(code, reason, tag)
			l.answers.put(now, tx.message, r, more)
			opts.ToTag = tag
			followers := tx.followers
			tx.followers = nil
			for _, f := range followers {
				f.Respond(code, reason, opts) //nolint:errcheck // counted; each is a copy
			}
		}
		return ErrAnswered
	case code < 200 && !tx.stateful:
		// RFC 3261 §8.2.7: "A stateless UAS MUST NOT send provisional (1xx) responses."
		return fmt.Errorf("%w: status 100 without a transaction", ErrInvalid)
	}
	return tx.respond(code, reason, opts)
}

func (tx *ServerTx) respond(code int, reason string, opts RespondOptions) error {
	l := tx.layer
	var packed wire.PackedTag // instead of opts.ToTag
	switch {
	case tx.req.To().Tag() != "":
		opts.ToTag = "" // it stays
	case opts.ToTag != "" || code == 100:
	case tx.stateful:
		packed = wire.NewPackedTag()
	default:
		opts.ToTag = l.statelessTag(tx.req)
	}
	now := time.Now()
	scratch := getBuffer()
	defer putBuffer(scratch)
	r := wire.Response{
		Code: code, Reason: reason, ToTag: opts.ToTag, Packed: packed, Headers: opts.Headers, ContentType: opts.ContentType, Body: opts.Body,
		Hop: l.hop(tx.req, &tx.route, code),
	}
	var b []byte
	var err error
	room := true
	if tx.route.conn == nil {
		b, room, err = fit((*scratch)[:0], tx.req, r, opts.Spare, tx.route.size)
	} else {
		if len(opts.Spare) > 0 {
			r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)], opts.Spare...)
		}
		b, err = wire.AppendResponse((*scratch)[:0], tx.req, r)
	}
	*scratch = b
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	short, plain := shortReply(code, reason, opts.ToTag, packed)
	if !packed.IsZero() && (!plain || len(tx.followers) > 0) {
		opts.ToTag = wire.UnpackTag(packed)
	}
	if code >= 200 && tx.merges && tx.req.Method() == "MESSAGE" {
		r, more := short, []byte(nil)
		if !plain {
			r, more = short.kept(reason, opts.ToTag)
		}
		l.answers.put(now, tx.message, r, more)
	}
	if room {
		l.tap(Outbound, b)
		err = tx.route.send(b)
		l.metrics.responses[1][code/100].Inc()
	} else {
		// A request so small that no answer fits is not one that a user agent sends (RFC 3261 §8.1.1): a forger's, perhaps.
		l.metrics.drop(dropAmplify)
		err = fmt.Errorf("%w: the response is too large for its request", ErrTransport)
	}
	if code < 200 {
		if tx.route.conn == nil && room {
			tx.response = bytes.Clone(b)
		}
		tx.state = serverProceeding
	} else {
		if code != 503 { // what is refused for want of room was not done
			tx.route.flow.Done()
		}
		followers := tx.followers
		if err != nil || opts.Forget {
			tx.complete(now, reply{}, nil, false)
		} else {
			if plain && len(opts.Headers)+len(opts.Spare)+len(opts.Body)+len(opts.ContentType) == 0 {
				b = nil
			} else {
				short.kind = replyKept
			}
			tx.complete(now, short, b, true)
		}
		for _, f := range followers {
			f.Respond(code, reason, opts) //nolint:errcheck // counted; each is a copy
		}
	}
	if err != nil {
		l.metrics.drop(dropResponse)
		if !errors.Is(err, ErrOverloaded) && !errors.Is(err, ErrTransport) {
			err = fmt.Errorf("%w: %w", ErrTransport, err)
		}
	}
	return err
}

// complete is the transition to Completed, and on to Terminated where there is nothing to absorb: Timer J is "zero seconds for reliable
// transports" (RFC 3261 §17.2.2). What is remembered is r, and the octets of a response that r cannot hold.
func (tx *ServerTx) complete(now time.Time, r reply, octets []byte, sent bool) {
	tx.followers = nil
	l := tx.layer
	l.leave()
	if !tx.stateful || tx.route.conn != nil || !sent {
		tx.drop()
		tx.terminate()
		return
	}
	tx.state = serverCompleted
	tx.response = nil
	l.wheel.stop(&tx.timer)
	if !tx.merges {
		tx.merge = l.merged.key(tx.req)
	}
	tx.drop()
	// Entered there before it leaves here: a copy that comes meanwhile finds one of the two.
	r.check = checkOf(tx.merge)
	l.servers.completed(now, tx, r, bytes.Clone(octets))
	if tx.merges {
		l.merged.completed(now, tx)
	}
}

// drop lets the request go.
func (tx *ServerTx) drop() {
	tx.req = nil
	tx.held.release()
	tx.held = nil
}

func (tx *ServerTx) terminate() {
	tx.state = serverTerminated
	tx.response = nil
	if !tx.stateful {
		return
	}
	tx.layer.wheel.stop(&tx.timer)
	tx.layer.servers.remove(tx)
	if tx.merges {
		tx.layer.merged.remove(tx)
	}
}

// trying100 is how long a request may wait for its answer until 100 is sent: "the amount of time it takes a client transaction's Timer E
// to be reset to T2", and not before on UDP (RFC 4320 §4.1). With the default timers it is 3.5 s.
func (l *Layer) trying100() time.Duration {
	var sum time.Duration
	for e := l.cfg.T1; ; e *= 2 {
		if sum += e; 2*e >= l.cfg.T2 {
			return sum
		}
	}
}

// expire is the timer: 100 is due, or an unanswered request is too old.
func (tx *ServerTx) expire() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	l := tx.layer
	switch tx.state {
	case serverTrying:
		l.wheel.set(time.Now(), &tx.timer, l.transactionLife()-l.trying100())
		tx.respond(100, "", RespondOptions{}) //nolint:errcheck // counted; the final response is what matters
		tx.state = serverProceeding
	case serverProceeding:
		// RFC 4320 §4.2: "an element that cannot respond before the transaction expires will not send a final response at all".
		l.metrics.drop(dropUnanswered)
		if tx.merges && tx.req.Method() == "MESSAGE" {
			// It may be delivered yet, so a copy must not be (THREATS T-FI-24): its outcome is not known.
			r, more := replyOf(504, "", wire.NewTag())
			l.answers.put(time.Now(), tx.message, r, more)
			tx.expired = true
		}
		tx.drop()
		l.leave()
		tx.terminate()
	case serverCompleted, serverTerminated:
	}
}

// again answers a copy of the request with what was said last (RFC 3261 §17.2.2); in Trying it is dropped. A client whose connection
// ended and who sends the request once more over another one, which proves the same, gets the answer there. It returns false if the final
// response was sent meanwhile.
func (tx *ServerTx) again(o origin) bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state == serverCompleted {
		return false
	}
	if r := &tx.route; r.conn != nil && o.conn != nil && r.conn != o.conn && r.conn.ending() && r.conn.transport == o.conn.transport &&
		r.conn.remote.Addr() == o.remote.Addr() && slices.Equal(r.conn.identities(), o.conn.identities()) {
		r.conn = o.conn
	}
	if tx.response == nil {
		return true
	}
	tx.layer.tap(Outbound, tx.response)
	if tx.route.send(tx.response) == nil {
		tx.layer.metrics.resent.responseOut.Inc()
	}
	return true
}

// request matches a request and makes its transaction. It reports false if the work on it has ended without one, and not for want of room.
func (l *Layer) request(m *wire.Message, o origin) (goesOn bool) {
	method := m.Method()
	size := len(m.Raw())
	if method == "ACK" {
		l.metrics.drop(dropACK)
		return false
	}
	src := o.source()
	if l.cfg.Admit != nil && !l.cfg.Admit(src) {
		l.metrics.drop(dropStranger)
		l.refuse(m, size, o, 403, "")
		if l.cfg.Refused != nil {
			l.cfg.Refused(src)
		}
		return false
	}
	if o.conn != nil && m.TopVia().OffersAlias() {
		l.pool.offered(o.conn, m.TopVia().Port())
	}
	key := l.servers.key(m, method)
	if l.copied(key, m, size, o) {
		return false
	}
	l.metrics.requests[0][methodIndex(method)].Inc()
	if l.closing.Load() {
		l.metrics.drop(dropClosing)
		l.refuse(m, size, o, 503, "")
		return true
	}
	if method == "CANCEL" {
		l.cancel(m, size, o)
		return false
	}
	if l.turnedAway(m, &o) {
		l.metrics.drop(dropLoad)
		l.refuse(m, size, o, 503, "")
		return true
	}
	tx := &ServerTx{layer: l, key: key, route: o.back(m.TopVia()), req: m}
	tx.route.layer, tx.route.size = l, size
	tx.timer.owner = tx
	if method == "MESSAGE" && o.held != nil {
		tx.held = o.held
		tx.held.users.Add(1)
	}
	if method != "INVITE" {
		var first *ServerTx // whose answer this copy waits for
		if m.To().Tag() == "" {
			var done bool
			if first, done = l.merges(tx, m, size, o); done {
				return false
			}
		}
		known, full := l.servers.add(o.at, tx, l.bounds().ServerTransactions)
		if known || full {
			if tx.merges {
				l.merged.remove(tx)
			}
			if full {
				l.metrics.drop(dropFull)
				l.refuse(m, size, o, 503, "")
				return true
			}
			l.copied(key, m, size, o) // the same request on two sockets at once
			return false
		}
		l.enter()
		l.wheel.set(o.at, &tx.timer, l.trying100())
		if first != nil {
			l.copyOf(first, tx)
			return true
		}
	} else {
		l.enter()
	}
	l.handler.Request(m, src, tx)
	return true
}

// copied answers a copy of a request whose transaction is there (RFC 3261 §17.2.2), and reports whether it is one.
func (l *Layer) copied(key hashKey, m *wire.Message, size int, o origin) bool {
	if old := l.servers.find(key); old != nil {
		if old.again(o) {
			l.metrics.resent.requestIn.Inc()
			return true
		}
	}
	r, octets, ok := l.servers.done.get(o.at, key)
	if !ok {
		return false
	}
	l.metrics.resent.requestIn.Inc()
	if r.check != checkOf(l.merged.key(m)) {
		// Another request with the same branch: its sender would take the answer to the first for its own, and be told that what
		// nobody has seen was taken.
		l.metrics.drop(dropBranch)
		l.refuse(m, size, o, 400, "Bad Request: the branch is that of another request")
		return true
	}
	way := o.back(m.TopVia())
	if r.kind != replyKept {
		scratch := getBuffer()
		defer putBuffer(scratch)
		out := r.response()
		out.Hop = l.hop(m, &way, out.Code)
		var fitting bool
		var err error
		octets, fitting, err = fit((*scratch)[:0], m, out, nil, size)
		*scratch = octets
		ok = fitting && err == nil
	} else {
		ok = fits(len(octets), size)
	}
	if !ok {
		l.metrics.drop(dropAmplify)
		return true
	}
	l.tap(Outbound, octets)
	if way.send(octets) == nil {
		l.metrics.resent.responseOut.Inc()
	}
	return true
}

// merges enters tx among the ongoing requests. done says that its request was answered: it is a copy of one whose answer is known, or of
// another branch of a fork. first is the transaction of the same MESSAGE that has no answer yet.
func (l *Layer) merges(tx *ServerTx, m *wire.Message, size int, o origin) (first *ServerTx, done bool) {
	tx.merge, tx.merges = l.merged.key(m), true
	message := m.Method() == "MESSAGE"
	if message {
		tx.message = l.merged.messageKey(m)
	}
	old, same, known := l.merged.add(o.at, tx)
	if known {
		tx.merges = false
		if !message || !same {
			// RFC 3261 §8.2.2.2: "the UAS core SHOULD generate a 482 (Loop Detected) response".
			l.metrics.drop(dropMerged)
			l.refuse(m, size, o, 482, "")
			return nil, true
		}
		if old != nil && !old.ended() {
			return old, false
		}
	}
	if !message {
		return nil, false
	}
	// Looked for only now: who answers puts the answer here before it leaves the table above.
	if a, ok := l.answers.get(o.at, tx.message); ok {
		if tx.merges {
			l.merged.remove(tx)
		}
		l.metrics.drop(dropAgain)
		scratch := getBuffer()
		defer putBuffer(scratch)
		l.refuseWith(m, size, o, a, scratch)
		return nil, true
	}
	if known {
		if now := l.merged.replace(old, tx); now != nil { // another copy was faster
			if now.message == tx.message {
				return now, false
			}
			l.metrics.drop(dropMerged)
			l.refuse(m, size, o, 482, "")
			return nil, true
		}
		tx.merges = true
	}
	return nil, false
}

// ended reports whether tx has its final response.
func (tx *ServerTx) ended() bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.state >= serverCompleted
}

// copyOf lets tx wait for the answer to first, whose request it carries, too; or gives it that answer, if it came meanwhile. It is never
// delivered: not even if it cannot wait, for then its client is told 503 and may come again.
func (l *Layer) copyOf(first, tx *ServerTx) {
	l.metrics.drop(dropAgain)
	if first.follow(tx) {
		return
	}
	if a, ok := l.answers.get(time.Now(), tx.message); ok {
		tx.Respond(a.Code, a.Reason, RespondOptions{ToTag: a.ToTag}) //nolint:errcheck // counted
		return
	}
	tx.Respond(503, "", RespondOptions{}) //nolint:errcheck // counted
}

// cancel answers CANCEL (RFC 3261 §9.2): 481 if there is no transaction that it could mean, else 200; on a request that is not INVITE
// it has no effect.
func (l *Layer) cancel(m *wire.Message, size int, o origin) {
	for _, method := range methods[:len(methods)-1] {
		if l.servers.has(o.at, l.servers.key(m, method)) {
			l.refuse(m, size, o, 200, "")
			return
		}
	}
	l.refuse(m, size, o, 481, "")
}
