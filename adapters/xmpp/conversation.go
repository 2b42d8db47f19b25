package xmpp

import (
	"strings"
	"sync"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/xmpp/stanza"
	"github.com/isthmus-gateway/isthmus/cpim"
)

// maxConversations is how many pairs of users are remembered; beyond it the older half is forgotten, and who is forgotten is a stranger
// again: a name is told once more, and chat states wait until they are seen.
const maxConversations = 8192

// talkers are one of our users and one of theirs.
type talkers struct{ ours, theirs cpim.Address }

// conversation is what has been said between a pair, as far as it decides what else may be.
type conversation struct {
	shows   bool              // their client has told a chat state since it last sent a message without one
	refuses bool              // it sent a message without one
	tells   bool              // our user's device has told one
	last    adapters.Activity // the one told last
	name    string            // our user's name as it was told
}

// conversations keeps the rules of XEP-0085 and XEP-0172 that look at more than one message. It is for any goroutine.
type conversations struct {
	mu       sync.Mutex
	now, old map[talkers]conversation
}

func newConversations() *conversations { return &conversations{now: map[talkers]conversation{}} }

// get finds a pair; the caller holds the lock.
func (c *conversations) get(p talkers) conversation {
	if v, ok := c.now[p]; ok {
		return v
	}
	return c.old[p]
}

// put keeps a pair; the caller holds the lock.
func (c *conversations) put(p talkers, v conversation) {
	if len(c.now) >= maxConversations/2 {
		c.now, c.old = map[talkers]conversation{}, c.now
	}
	if _, known := c.now[p]; !known {
		// They are parts of a request, as the name is.
		p = talkers{p.ours.Clone(), p.theirs.Clone()}
	}
	c.now[p] = v
}

// heard takes note of a message that one of their users sent. XEP-0085 §5.1: "If the Contact replies but does not include a chat state
// notification extension, the User MUST NOT send subsequent chat state notifications to the Contact."
func (c *conversations) heard(op *adapters.MessageOp, state adapters.Activity) {
	p := talkers{ours: op.To.Address, theirs: op.From.Address}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.get(p)
	shows := state != adapters.ActivityNone
	if v.shows == shows && v.refuses == !shows {
		return
	}
	v.shows, v.refuses = shows, !shows
	c.put(p, v)
}

// tell decides how a message of one of our users goes out: whether it does at all, which only an activity may not, and with what beside it.
//
// A chat state that stands alone goes to clients that have shown them, and never twice in a row (XEP-0085 §5.3). A message has <active/>
// (§5.1) if our user's device tells chat states and the client has not replied without them; also one that is not of type "chat", which
// §5.4 advises against, because RFC 7572 §5 lets no message from SIP be one, and clients would else never learn that they may.
func (c *conversations) tell(op *adapters.MessageOp) (env stanza.Envelope, send bool) {
	p := talkers{ours: op.From.Address, theirs: op.To.Address}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.get(p)
	before := v
	if op.Activity != adapters.ActivityNone {
		v.tells = true
		if send = v.shows && v.last != op.Activity; send {
			v.last = op.Activity
		}
	} else {
		send = true
		if v.last = adapters.ActivityNone; v.tells && !v.refuses {
			env.State, v.last = adapters.ActivityActive, adapters.ActivityActive
		}
		if op.SenderName != "" && op.SenderName != v.name && len(op.SenderName) <= maxName {
			env.Nick, v.name = true, strings.Clone(op.SenderName)
		}
	}
	if v != before {
		c.put(p, v)
	}
	return env, send
}

// maxName bounds a name that is remembered, in octets; a longer one is not told (package stanza).
const maxName = 256
