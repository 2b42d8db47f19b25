package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// fakeEngine is an engine that takes the times it is told, and can stop by itself.
type fakeEngine struct {
	starting, ending time.Duration
	startFault       error
	fault            chan error // a fault that stops it
	stopped          chan struct{}
	calls            []string
	deaf             bool // it does not hear that its time to end is over
}

func newFakeEngine() *fakeEngine {
	return &fakeEngine{fault: make(chan error, 1), stopped: make(chan struct{})}
}

func (e *fakeEngine) start(ctx context.Context) error {
	e.calls = append(e.calls, "start")
	select {
	case <-time.After(e.starting):
		return e.startFault
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *fakeEngine) wait() error {
	select {
	case err := <-e.fault:
		return err
	case <-e.stopped:
		return nil
	}
}

func (e *fakeEngine) shutdown(ctx context.Context) error {
	e.calls = append(e.calls, "shutdown")
	close(e.stopped)
	if e.deaf {
		ctx = context.Background()
	}
	select {
	case <-time.After(e.ending):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// T-FI-22: SIGTERM drains, a second signal ends at once, and whatever ends it is told.
func TestOperate_T_FI_22(t *testing.T) {
	broken := errors.New("the component's secret is wrong")
	for _, c := range []struct {
		name    string
		engine  func(*fakeEngine)
		signals []time.Duration // after the begin
		fault   time.Duration   // when it stops by itself; 0: never
		want    error
		took    time.Duration
		calls   string
	}{
		{"a signal drains", func(e *fakeEngine) { e.ending = 5 * time.Second }, []time.Duration{time.Minute}, 0, nil, 65 * time.Second, "start shutdown"},
		{"a second ends at once", func(e *fakeEngine) { e.ending = 20 * time.Second }, []time.Duration{time.Minute, 62 * time.Second}, 0, errSecondSignal, 62 * time.Second, "start shutdown"},
		{"the drain has an end", func(e *fakeEngine) { e.ending = time.Hour }, []time.Duration{time.Minute}, 0, context.DeadlineExceeded, 92 * time.Second, "start shutdown"},
		{"whatever hangs", func(e *fakeEngine) { e.ending, e.deaf = time.Hour, true }, []time.Duration{time.Minute}, 0, errOverdue, 122 * time.Second, "start shutdown"},
		{"a fault ends it", func(e *fakeEngine) { e.ending = time.Second }, nil, time.Minute, broken, 61 * time.Second, "start shutdown"},
		{"a start that fails", func(e *fakeEngine) { e.startFault = broken }, nil, 0, broken, 0, "start"},
		{"a start that hangs", func(e *fakeEngine) { e.starting = time.Hour }, nil, 0, context.DeadlineExceeded, startTimeout, "start"},
		{"a signal ends the start", func(e *fakeEngine) { e.starting = 20 * time.Second }, []time.Duration{time.Second}, 0, nil, time.Second, "start"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakeEngine()
				c.engine(e)
				signals := make(chan os.Signal, 2)
				begin := time.Now()
				for _, after := range c.signals {
					time.AfterFunc(after, func() { signals <- syscall.SIGTERM })
				}
				if c.fault > 0 {
					time.AfterFunc(c.fault, func() { e.fault <- broken })
				}
				var log bytes.Buffer
				err := operate(t.Context(), e, func() time.Duration { return 32 * time.Second }, zerolog.New(&log), signals)
				if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if took := time.Since(begin); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if got := strings.Join(e.calls, " "); got != c.calls {
					t.Errorf("calls: %s, want %s", got, c.calls)
				}
				time.Sleep(2 * time.Hour) // the fake's goroutines end by themselves
			})
		})
	}
}

func TestOperateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		e := newFakeEngine()
		if err := operate(ctx, e, func() time.Duration { return time.Second }, zerolog.Nop(), nil); err != nil || !slices.Equal(e.calls, []string{"start", "shutdown"}) {
			t.Errorf("error %v, calls %v", err, e.calls)
		}
	})
}
