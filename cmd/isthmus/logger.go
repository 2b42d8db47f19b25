package main

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/isthmus-gateway/isthmus/configs"
)

// newLogger writes JSON, one object a line, to w. The level is one that the configuration has checked, and may be set again.
func newLogger(w io.Writer, cfg configs.Log) (zerolog.Logger, *levelSampler) {
	level := &levelSampler{}
	level.set(cfg)
	return zerolog.New(w).Sample(level).Hook(&stamper{}), level
}

// stamper is the hook that gives each line its time, as zerolog's own does. It writes a time out once for all lines of a millisecond: a busy
// gateway writes fifty of them in one.
type stamper struct{ last atomic.Pointer[stamped] }

// stamped is a millisecond of the system's clock, in quotes.
type stamped struct {
	ms   int64
	text []byte
}

// Run implements zerolog.Hook.
func (s *stamper) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	now := time.Now()
	ms, last := now.UnixMilli(), s.last.Load()
	if last == nil || last.ms != ms {
		text := append(make([]byte, 0, len(zerolog.TimeFieldFormat)+2), '"')
		last = &stamped{ms, append(now.AppendFormat(text, zerolog.TimeFieldFormat), '"')}
		s.last.Store(last)
	}
	e.RawJSON(zerolog.TimestampFieldName, last.text)
}
