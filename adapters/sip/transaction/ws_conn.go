package transaction

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters/sip/websocket"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// maxUpgrade bounds the HTTP request that opens a WebSocket, in octets.
const maxUpgrade = 16 << 10

// isWebSocket tells the transports of RFC 7118.
func isWebSocket(t resolver.Transport) bool { return t == resolver.WS || t == resolver.WSS }

// upgrade reads the HTTP request of a WebSocket client and answers it, within Bounds.UpgradeTimeout. It is HTTP/1.1 alone: there is no
// other request on this connection, before or after.
func (c *conn) upgrade(origins []string) error {
	l := c.layer
	deadline := time.Now().Add(l.bounds().UpgradeTimeout)
	if err := c.nc.SetDeadline(deadline); err != nil {
		return err
	}
	limited := &io.LimitedReader{R: c.nc, N: maxUpgrade}
	in := bufio.NewReaderSize(limited, 1024)
	r, err := http.ReadRequest(in)
	var answer []byte
	var refusal *websocket.Refusal
	if err != nil {
		if limited.N <= 0 {
			refusal = &websocket.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Rule: "upgrade too large"}
		} else {
			refusal = &websocket.Refusal{Status: http.StatusBadRequest, Rule: "upgrade"}
		}
		err = refusal
	} else {
		var accept string
		if accept, err = websocket.Accept(r, origins); err == nil {
			answer = websocket.AppendAccepted(nil, accept)
		} else if !errors.As(err, &refusal) {
			refusal = &websocket.Refusal{Status: http.StatusBadRequest, Rule: "upgrade"}
		}
	}
	if refusal != nil {
		l.metrics.drop("websocket " + refusal.Rule)
		answer = websocket.AppendRefused(nil, refusal)
	}
	if _, werr := c.nc.Write(answer); err == nil && werr != nil {
		err = werr
	}
	if err != nil {
		return fmt.Errorf("%w: WebSocket with %s: %w", ErrTransport, c.remote, err)
	}
	limited.N = 1 << 62
	var rest io.Reader = c
	if n := in.Buffered(); n > 0 {
		// A client may send its first frame without waiting; it lies in the buffer.
		rest = io.MultiReader(io.LimitReader(in, int64(n)), c)
	}
	c.frames = &wsFrames{conn: c, r: websocket.NewReader(rest, l.limits().Message)}
	return c.nc.SetDeadline(time.Time{})
}

// wsFrames gives the messages of a WebSocket, one of SIP in each (RFC 7118 §5), and answers what is of the WebSocket alone.
type wsFrames struct {
	conn *conn
	r    *websocket.Reader
}

// Next implements framer.
func (f *wsFrames) Next() (b []byte, keepAlive bool, err error) {
	for {
		op, payload, err := f.r.Next()
		var fault *websocket.Fault
		switch {
		case errors.As(err, &fault):
			f.conn.layer.metrics.drop("websocket " + fault.Rule)
			f.conn.closing(fault.Code)
			return nil, false, err
		case err != nil:
			return nil, false, err
		}
		switch op {
		case websocket.Ping:
			// RFC 6455 §5.5.2: "an endpoint MUST send a Pong frame in response".
			f.conn.enqueueFrame(websocket.AppendFrame(nil, websocket.Pong, payload)) //nolint:errcheck // a full queue means that the peer does not read
		case websocket.Close:
			f.conn.closing(websocket.CloseNormal)
			return nil, false, io.EOF
		case websocket.Text, websocket.Binary:
			switch string(payload) {
			case "\r\n\r\n":
				return nil, true, nil
			case "\r\n", "":
				continue
			}
			return payload, false, nil
		}
	}
}

// Buffered implements framer.
func (f *wsFrames) Buffered() int { return f.r.Buffered() }

// ExpectPong implements framer: Pong frames cannot be taken for anything else.
func (f *wsFrames) ExpectPong() {}
