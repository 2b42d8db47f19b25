package store

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// engineLog passes the engine's warnings and errors on; what it tells of itself otherwise is nobody's business. The engine says the same about each
// dead node several times a second: what differs from what was said lately by numbers alone is counted, and told with the next that is passed on.
type engineLog struct {
	log zerolog.Logger
	// engine is told what the engine says nowhere else.
	engine *engine

	mu   sync.Mutex
	said map[string]*said // by the text without its numbers
}

// said is what was passed on when, and how often it came since.
type said struct {
	at    time.Time
	times int
}

// The same message is passed on at most once in sayAgain. Of how many different ones that is known is bounded: what is more is passed on.
const (
	sayAgain = 10 * time.Second
	maxSaid  = 256
)

func newEngineLog(log zerolog.Logger, e *engine) *engineLog {
	return &engineLog{log: log, engine: e, said: map[string]*said{}}
}

// may tells whether a message is passed on now, and how many like it were not since the last one.
func (l *engineLog) may(text string, now time.Time) (before int, yes bool) {
	key := gist(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.said[key]
	if s != nil && now.Sub(s.at) < sayAgain {
		s.times++
		return 0, false
	}
	if s == nil {
		if len(l.said) >= maxSaid {
			for k, old := range l.said {
				if now.Sub(old.at) >= sayAgain {
					delete(l.said, k)
				}
			}
		}
		if len(l.said) >= maxSaid {
			return 0, true
		}
		s = &said{}
		l.said[key] = s
	}
	before, s.at, s.times = s.times, now, 0
	return before, true
}

// gist is a text in which what counts attempts, or is the number of a connection, is left out. Addresses stay: another node is another matter.
func gist(text string) string {
	fields := strings.Fields(text)
	for i, f := range fields {
		if f = strings.Trim(f, "()[],:;"); f != "" && strings.Trim(f, "0123456789") == "" || strings.HasPrefix(f, "rid:") {
			fields[i] = "#"
		}
	}
	return strings.Join(fields, " ")
}

func (l *engineLog) say(e *zerolog.Event, text string) {
	before, yes := l.may(text, time.Now())
	if !yes {
		e.Discard()
		return
	}
	if before > 0 {
		e = e.Int("more", before)
	}
	e.Str("engine", text).Msg("store")
}

// Noticef implements server.Logger.
func (l *engineLog) Noticef(string, ...any) {}

// Warnf implements server.Logger.
func (l *engineLog) Warnf(format string, v ...any) {
	text := clip(fmt.Sprintf(format, v...))
	if strings.Contains(text, "invalid port") { // see noPort
		return
	}
	l.say(l.log.Warn(), text)
}

// Fatalf implements server.Logger.
func (l *engineLog) Fatalf(format string, v ...any) {
	if strings.HasPrefix(format, "Error listening on port") { // see noPort
		return
	}
	l.engine.fatal.Store(true)
	l.Errorf(format, v...)
}

// Errorf implements server.Logger.
func (l *engineLog) Errorf(format string, v ...any) {
	switch {
	case strings.Contains(format, "ritical write error"):
		l.engine.fail()
	case strings.Contains(format, "duplicate name"):
		l.engine.twice.Store(true)
	}
	l.say(l.log.Error(), clip(fmt.Sprintf(format, v...)))
}

// Debugf implements server.Logger.
func (l *engineLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *engineLog) Tracef(string, ...any) {}
