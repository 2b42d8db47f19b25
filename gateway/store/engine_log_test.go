package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// What the engine says of a dead node four times a second is logged once in ten seconds for each node, with how many there were; anything else at once.
func TestEngineSaysTheSameSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := newEngine()
		l := newEngineLog(zerolog.New(&out), e)
		for i := range 4 * 25 {
			for _, node := range []string{"192.0.2.1:6222", "192.0.2.2:6222"} {
				l.Errorf("Error trying to connect to route (attempt %d): %v", i+1, "dial tcp "+node+": connect: connection refused")
			}
			time.Sleep(250 * time.Millisecond)
		}
		l.Warnf("another matter")
		l.Errorf("JetStream critical write error: %s", "disk full")
		text := out.String()
		if n := strings.Count(text, "192.0.2.1"); n != 3 {
			t.Errorf("a node's route is logged %d times in 25 s:\n%s", n, text)
		}
		if n := strings.Count(text, `"more":39`); n != 4 || !strings.Contains(text, "another matter") || !strings.Contains(text, "disk full") {
			t.Errorf("%d lines tell of 39 more:\n%s", n, text)
		}
		select {
		case <-e.failed.Done():
		default:
			t.Error("the engine does not know that its disk failed")
		}
		// However many different messages there are, what is known of them is bounded, and each is logged.
		out.Reset()
		for i := range 10 * maxSaid {
			l.Warnf("%s", fmt.Sprintf("x%dy", i))
		}
		if n := strings.Count(out.String(), "\n"); n != 10*maxSaid || len(l.said) > maxSaid {
			t.Errorf("%d of %d are logged, %d known", n, 10*maxSaid, len(l.said))
		}
	})
}
