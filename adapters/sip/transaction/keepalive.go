package transaction

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/websocket"
)

const (
	// pongWait is how long the answer to a ping may take: "If a pong is not received within 10 seconds after sending a ping (or
	// immediately after processing any incoming message being received when that 10 seconds expires), then the client MUST treat the
	// flow as failed" (RFC 5626 §4.4.1).
	pongWait = 10 * time.Second
	// keepDefault is the upper bound of RFC 5626 §4.4.1 where nobody names one.
	keepDefault = 120 * time.Second
	// keepLife is how long pings go on after they were agreed upon last. Each SUBSCRIBE that is answered with keep, so each refresh,
	// begins it anew (RFC 6223 §4.2.3: "for the lifetime of the dialog").
	keepLife = 25 * time.Hour
)

// keepAliver sends double CRLFs on a connection that was opened here, and Ping frames on a WebSocket, whose client is reached in no other
// way (RFC 7118 §6), and ends the connection if one is not answered (RFC 5626 §4.4.1).
type keepAliver struct {
	conn *conn

	mu       sync.Mutex
	timer    timer
	interval time.Duration // at most so long between pings; 0 for none
	until    time.Time     // zero: as long as the connection
	pinged   time.Time     // when the ping that has no answer yet was sent; zero if there is none
	stopped  bool
}

// start sends pings from now on, every 80 to 100 percent of interval ("randomly distributed between 80% and 100%", RFC 6223 §5); zero
// means the default. life 0 means that they go on as long as the connection.
func (k *keepAliver) start(interval, life time.Duration) {
	if interval <= 0 {
		interval = keepDefault
	}
	interval = max(interval, time.Second)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	first, before := k.interval == 0, k.interval
	switch {
	case first:
		k.interval = interval
		if life > 0 {
			k.until = time.Now().Add(life)
		}
	default:
		k.interval = min(k.interval, interval)
		if !k.until.IsZero() {
			k.until = time.Now().Add(life)
		}
	}
	if first || k.interval < before && k.pinged.IsZero() {
		k.arm()
	}
}

func (k *keepAliver) arm() {
	k.conn.layer.wheel.set(time.Now(), &k.timer, k.interval-time.Duration(rand.Int64N(int64(k.interval)/5+1)))
}

// kept reports whether the connection stays although nothing else crosses it.
func (k *keepAliver) kept() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.interval > 0 && !k.stopped
}

func (k *keepAliver) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	if k.interval > 0 {
		k.conn.layer.wheel.stop(&k.timer)
	}
}

// expire sends the next ping, or looks for the answer to the last.
func (k *keepAliver) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	now := time.Now()
	if !k.pinged.IsZero() {
		if k.conn.lastRead.Load() < k.pinged.UnixNano() {
			k.stopped = true
			c := k.conn
			c.layer.metrics.drop(dropPong)
			// Closing may write an alert, and the wheel must not wait for that.
			c.layer.tasks.Go(func() { c.close(fmt.Errorf("%w: %s does not answer keep-alives", ErrTransport, c.remote)) })
			return
		}
		k.pinged = time.Time{}
		k.arm()
		return
	}
	if !k.until.IsZero() && now.After(k.until) {
		k.interval, k.until = 0, time.Time{}
		return
	}
	ping := []byte("\r\n\r\n")
	if isWebSocket(k.conn.transport) {
		ping = websocket.AppendFrame(nil, websocket.Ping, nil)
	} else {
		k.conn.frames.ExpectPong()
	}
	if k.conn.enqueueFrame(ping) != nil {
		k.arm() // the connection ends, or has so much to write that it needs no ping
		return
	}
	k.pinged = now
	k.conn.layer.wheel.set(time.Now(), &k.timer, pongWait)
}
