package gateway

// loadAt is the share of Limits.Messages, in percent, from which on there is load to tell of.
const loadAt = 80

// Load is how much of the messages that come in is too much, from 0 to 100 percent: none while under 80 percent of Limits.Messages wait
// or are under way, all when there is room for no more. Adapters may tell their peers (RFC 7339). Any goroutine may call it, at any time.
func (g *Gateway) Load() int { return g.lanes.load() }

func (l *lanes) load() int {
	most := l.inAll.Load()
	from := most * loadAt / 100
	if most <= from {
		return 0
	}
	return int(max(0, min((l.queued.Load()-from)*100/(most-from), 100)))
}
