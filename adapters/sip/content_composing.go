package sip

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/sip/wire"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/cpim/iscomposing"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// composingDocument is op.Activity as application/im-iscomposing+xml: RFC 7573 §6, Table 4.
func composingDocument(op *adapters.MessageOp) ([]byte, error) {
	f := iscomposing.Fields{State: "idle"}
	if op.Activity == adapters.ActivityComposing {
		f.State = "active"
		f.Refresh = int(min(seconds(op.ActivityRefresh), iscomposing.MaxRefreshSeconds))
	}
	s, err := iscomposing.New(f)
	if err != nil {
		return nil, err
	}
	return s.Append(nil), nil
}

// composingInterval is the time between two "active" messages of one sender to one recipient: "The interval SHOULD be no shorter than 60
// seconds" (RFC 3994 §3.2).
const composingInterval = time.Minute

// composersLimit is how many conversations are kept in which somebody was composing within the last minutes. When it is full, no more are
// told of.
const composersLimit = 10_000

// composers is what recipients were told of senders who are composing: the sender state diagram of RFC 3994 §3.2, as far as it is the
// gateway's. The idle time-out is the client's own, which says that it paused; "active" is not refreshed ("A message composer MAY decide
// not to send active-state refresh messages at all") unless the client says again that it composes.
//
// "In any event, the message rate is limited to one status message per refresh threshold interval": of "active" one is sent in an interval,
// and of "idle" one for each "active" that still holds, because a recipient who is not told would believe for two minutes what has ended.
// Safe for use from many goroutines.
type composers struct {
	count atomic.Int32 // of told; a message costs no lock while nobody is composing
	mu    sync.Mutex
	told  map[conversation]composer
	swept time.Time // when what is over was last looked for in a full table
}

// sweepInterval bounds how often a full table is walked through: else each stranger would cost a walk.
const sweepInterval = time.Second

type conversation struct{ from, to cpim.Address }

type composer struct {
	active bool
	until  time.Time // when "active" lapses at the recipient (RFC 3994 §3.3)
	next   time.Time // when "active" may be sent again
}

func newComposers() *composers { return &composers{told: make(map[conversation]composer)} }

// step tells whether the recipient is to be told of an activity now.
func (c *composers) step(who conversation, what adapters.Activity, refresh time.Duration, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	is, known := c.told[who]
	if what != adapters.ActivityComposing {
		tell := known && is.active && now.Before(is.until)
		is.active = false
		c.keep(who, is, now, known)
		return tell
	}
	if known && now.Before(is.next) {
		return false
	}
	if refresh <= 0 {
		refresh = iscomposing.DefaultRefresh
	}
	return c.keep(who, composer{active: true, until: now.Add(refresh), next: now.Add(composingInterval)}, now, known)
}

// keep sets the state of a conversation, or forgets one of which there is nothing to know. It is false if there was no room.
func (c *composers) keep(who conversation, is composer, now time.Time, known bool) bool {
	over := func(is composer) bool { return !now.Before(is.next) && (!is.active || !now.Before(is.until)) }
	if !known && len(c.told) >= composersLimit && now.Sub(c.swept) >= sweepInterval {
		c.swept = now
		for k, other := range c.told {
			if over(other) {
				delete(c.told, k)
			}
		}
	}
	fits := known || len(c.told) < composersLimit
	switch {
	case over(is):
		delete(c.told, who)
	case known:
		c.told[who] = is
	case fits:
		c.told[conversation{who.from.Clone(), who.to.Clone()}] = is // of a stanza, which need not be kept
	}
	c.count.Store(int32(len(c.told)))
	return fits
}

// ended notes that a message was sent, which ends "active" by itself: "A content message is received" (RFC 3994 §3.3).
func (c *composers) ended(who conversation) {
	if c.count.Load() > 0 {
		c.step(who, adapters.ActivityActive, 0, time.Now())
	}
}

// sendActivity tells the recipient of an activity, if it is one who takes that, and there is something new. Only one next hop is tried:
// what is lost is lost.
func (a *Adapter) sendActivity(ctx context.Context, hops []resolver.Target, op *adapters.MessageOp) adapters.Status {
	for _, hop := range hops {
		if hop.Protocol() != resolver.SIP {
			continue
		}
		peer := a.peers().toward(hop, op.To.Address.Domain())
		agent := userAgentAt(peer, hop, op.To.Address, featureComposing)
		if !a.learned.takes(agent, peer != nil && peer.Composing) {
			return adapters.Failed(adapters.ReasonNotImplemented, "The recipient is not told of activities")
		}
		if !a.composers.step(conversation{op.From.Address, op.To.Address}, op.Activity, op.ActivityRefresh, time.Now()) {
			return adapters.Accepted()
		}
		o := WriteOptions{FromTag: wire.NewTag(), CSeq: a.nextCSeq(), Now: time.Now()}
		if callIDOf(op.Thread) == "" {
			o.CallID = wire.NewCallID("")
		}
		if peer != nil {
			o.OmitInstance = peer.OmitInstance
		}
		req, err := WriteMessage(op, o)
		if err != nil {
			return unwritable(err)
		}
		r := a.do(ctx, hop, req)
		s, _ := outcome(&r)
		if s.Code == 415 {
			// "The composer MUST cease transmitting status messages if the receiver returned a 415 status code (Unsupported Media Type)
			// in response to a MESSAGE request containing the status indication." (RFC 3994 §4)
			a.learned.note(agent, false)
		}
		return s
	}
	return adapters.Failed(adapters.ReasonDomainNotFound, "")
}

// ceaseComposing answers an activity that the other side has no way to tell: "The composer MUST cease transmitting status messages if the
// receiver returned a 415 status code" (RFC 3994 §4). What this recipient accepts is then everything else.
func ceaseComposing() answer {
	return answer{code: 415, phrase: phraseOf(415), headers: []wire.Header{
		{Name: "Accept", Value: strings.Replace(acceptedContent, iscomposing.MediaType+", ", "", 1)},
	}}
}
