package gateway

import (
	"slices"
	"sync"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/watch"
)

// outages brings to the watches what adapters say of their ways. All that is said while it looks through the watches is looked up in
// one more go, so that many ways which break together, or one that does not stay, cost no more than that.
type outages struct {
	watches *watches

	mu      sync.Mutex
	news    map[adapters.Way]fate
	busy    bool
	stopped chan struct{}
	once    sync.Once
}

// fate is what became of a way since it was looked at last.
type fate struct{ lost, back bool }

// outagesEvery is how often all watches are looked through at most.
const outagesEvery = time.Second

func newOutages(w *watches) *outages {
	return &outages{watches: w, news: make(map[adapters.Way]fate), stopped: make(chan struct{})}
}

// Lost implements adapters.Outages.
func (h *handler) Lost(way adapters.Way) { h.gateway.way(way, false) }

// Back implements adapters.Outages.
func (h *handler) Back(way adapters.Way) { h.gateway.way(way, true) }

// way takes in the news of a way, for this gateway and for all that act as one with it.
func (g *Gateway) way(way adapters.Way, back bool) {
	g.wayHere(way, back)
	if g.node != nil {
		g.node.spread(way, back)
	}
}

// wayHere is way for this gateway. Among several, one that is back may have been another's, which was killed and could not say that it is lost.
func (g *Gateway) wayHere(way adapters.Way, back bool) {
	if back && g.node != nil {
		g.outages.hear(way, false)
	}
	g.outages.hear(way, back)
	if back {
		g.journal.back(way.Theirs)
	}
}

var _ adapters.Outages = (*handler)(nil)

// hear takes in the last that is known of way. How many ways are remembered is bounded by how many an adapter has.
func (o *outages) hear(way adapters.Way, back bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	// Back after it was lost is both; lost again is lost alone.
	o.news[way] = fate{lost: !back || o.news[way].lost, back: back}
	if o.busy {
		return
	}
	o.busy = true
	go o.work()
}

// work does what the news ask for until there are no more. Those whose way broke hear of it at once. Those whose way is back are asked as
// fast as watches may be opened and no faster: they must be no storm for a server that has just started.
func (o *outages) work() {
	every := time.NewTicker(paceEvery)
	defer every.Stop()
	var waiting []broken
	var looked time.Time
	for {
		o.mu.Lock()
		var news map[adapters.Way]fate
		if len(o.news) > 0 && time.Since(looked) >= outagesEvery {
			news, o.news = o.news, make(map[adapters.Way]fate)
			looked = time.Now()
		} else if len(o.news) == 0 && len(waiting) == 0 {
			o.busy = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		if len(news) > 0 {
			lost, back := o.watches.between(news)
			tried := map[adapters.Way]bool{}
			for _, b := range lost {
				o.watches.step(b.pair, stepInput{event: watch.Event{Severed: true}})
				if way := b.way(); !tried[way] && !news[way].back {
					tried[way] = true
					o.watches.step(b.pair, stepInput{event: watch.Event{Tried: true}})
				}
			}
			waiting = slices.DeleteFunc(waiting, func(b broken) bool {
				_, again := news[b.way()]
				return again
			})
			waiting = append(waiting, back...)
			if len(lost)+len(back) > 0 {
				o.watches.gateway.log.Info().Int("lost", len(lost)).Int("back", len(back)).Msg("ways that watches need broke, or are back")
			}
		}
		n := min(len(waiting), max(1, o.watches.gateway.limits().WatchRate/int(time.Second/paceEvery)))
		for _, b := range waiting[:n] {
			event := watch.Event{Mended: true}
			if b.watcher {
				event = watch.Event{WatcherMended: true}
			}
			o.watches.step(b.pair, stepInput{event: event})
		}
		waiting = waiting[n:]
		select {
		case <-every.C:
		case <-o.stopped:
			return
		}
	}
}

func (o *outages) stop() { o.once.Do(func() { close(o.stopped) }) }

// broken is a pair of which a way broke or is back: to its watcher, or to its presentity.
type broken struct {
	pair    pair
	watcher bool
}

func (b broken) way() adapters.Way {
	if b.watcher {
		return adapters.Way{Ours: b.pair.presentity.Domain(), Theirs: b.pair.watcher.Domain()}
	}
	return adapters.Way{Ours: b.pair.watcher.Domain(), Theirs: b.pair.presentity.Domain()}
}

// between finds the pairs of these ways. A watcher whose way is lost needs nothing: what she is told in vain is said again.
func (w *watches) between(news map[adapters.Way]fate) (lost, back []broken) {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		for p, x := range s.states {
			if x.state.Resting() {
				continue
			}
			for _, b := range [...]broken{{pair: p}, {pair: p, watcher: true}} {
				f := news[b.way()]
				if f.back {
					back = append(back, b)
				}
				if f.lost && !b.watcher && x.state.Upstream() == watch.Open {
					lost = append(lost, b)
				}
			}
		}
		s.mu.Unlock()
	}
	return lost, back
}
