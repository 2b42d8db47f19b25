// Package adaptertest has a fake adapter for tests of the core, and the contract that every adapter is tested against.
package adaptertest

import (
	"context"
	"sync"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/resolver"
)

// Fake is an adapter without a network. Its functions say what the far side answers; a nil function gives the plain
// positive answer. Calls are recorded. Safe for use from many goroutines; the functions must be set before Start.
type Fake struct {
	ID   string
	Caps adapters.Capabilities

	OnMessage func(ctx context.Context, op *adapters.MessageOp) adapters.Status
	OnWatch   func(ctx context.Context, op *adapters.WatchOp) adapters.WatchStatus
	OnNotify  func(ctx context.Context, op *adapters.NotifyOp) adapters.Status
	OnReport  func(ctx context.Context, r *adapters.Report) adapters.Status
	StartErr  error

	mu       sync.Mutex
	handler  adapters.Handler
	messages []*adapters.MessageOp
	watches  []*adapters.WatchOp
	notifies []*adapters.NotifyOp
	reports  []*adapters.Report
	stopped  chan struct{}
	fault    error
	once     sync.Once
}

var _ adapters.Adapter = (*Fake)(nil)

// NewFake returns a fake adapter of that name.
func NewFake(name string, caps adapters.Capabilities) *Fake {
	return &Fake{ID: name, Caps: caps, stopped: make(chan struct{})}
}

// Name implements adapters.Adapter.
func (f *Fake) Name() string { return f.ID }

// Capabilities implements adapters.Adapter.
func (f *Fake) Capabilities() adapters.Capabilities { return f.Caps }

// Start implements adapters.Adapter.
func (f *Fake) Start(_ context.Context, h adapters.Handler) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handler = h
	return f.StartErr
}

// Wait implements adapters.Adapter.
func (f *Fake) Wait() error {
	<-f.stopped
	return f.fault
}

// Break makes Wait return err, as an adapter does whose socket died.
func (f *Fake) Break(err error) {
	f.once.Do(func() {
		f.fault = err
		close(f.stopped)
	})
}

// Shutdown implements adapters.Adapter.
func (f *Fake) Shutdown(context.Context) error {
	f.once.Do(func() { close(f.stopped) })
	return nil
}

// Handler returns what Start was given: the way in for operations from this fake's network.
func (f *Fake) Handler() adapters.Handler {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.handler
}

// Message implements adapters.Adapter.
func (f *Fake) Message(ctx context.Context, _ []resolver.Target, op *adapters.MessageOp) adapters.Status {
	f.mu.Lock()
	f.messages = append(f.messages, op)
	on := f.OnMessage
	f.mu.Unlock()
	if on != nil {
		return on(ctx, op)
	}
	return adapters.Succeeded()
}

// Watch implements adapters.Adapter.
func (f *Fake) Watch(ctx context.Context, _ []resolver.Target, op *adapters.WatchOp) adapters.WatchStatus {
	f.mu.Lock()
	f.watches = append(f.watches, op)
	f.mu.Unlock()
	if f.OnWatch != nil {
		return f.OnWatch(ctx, op)
	}
	return adapters.WatchStatus{Status: adapters.Succeeded(), Duration: op.Duration}
}

// Notify implements adapters.Adapter.
func (f *Fake) Notify(ctx context.Context, _ []resolver.Target, op *adapters.NotifyOp) adapters.Status {
	f.mu.Lock()
	f.notifies = append(f.notifies, op)
	f.mu.Unlock()
	if f.OnNotify != nil {
		return f.OnNotify(ctx, op)
	}
	return adapters.Succeeded()
}

// Report implements adapters.Adapter.
func (f *Fake) Report(ctx context.Context, _ []resolver.Target, r *adapters.Report) adapters.Status {
	f.mu.Lock()
	f.reports = append(f.reports, r)
	f.mu.Unlock()
	if f.OnReport != nil {
		return f.OnReport(ctx, r)
	}
	return adapters.Succeeded()
}

// Messages returns the messages that the core handed over so far.
func (f *Fake) Messages() []*adapters.MessageOp {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*adapters.MessageOp(nil), f.messages...)
}

// Watches returns the watch operations that the core handed over so far.
func (f *Fake) Watches() []*adapters.WatchOp {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*adapters.WatchOp(nil), f.watches...)
}

// Notifies returns the notifications that the core handed over so far.
func (f *Fake) Notifies() []*adapters.NotifyOp {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*adapters.NotifyOp(nil), f.notifies...)
}

// Reports returns the reports that the core handed over so far.
func (f *Fake) Reports() []*adapters.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*adapters.Report(nil), f.reports...)
}

// Forget drops what Messages, Watches, Notifies and Reports would return, for tests of very many.
func (f *Fake) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.messages, f.watches, f.notifies, f.reports = nil, nil, nil, nil
}

// Answer sets OnMessage while the adapter is in use.
func (f *Fake) Answer(on func(context.Context, *adapters.MessageOp) adapters.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.OnMessage = on
}
