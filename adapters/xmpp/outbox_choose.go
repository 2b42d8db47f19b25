package xmpp

import "slices"

// choose moves what may leave now out of what waits, as much as fits into one batch: replies first, in half of it while something else may leave too, and
// of what somebody waits for one stanza at least, however large, so that no number of replies keeps it from leaving. So many octets may be kept in all
// until they are acknowledged; negative: any number. The caller holds the lock.
func (b *outbox) choose(buf []byte, maxBatch, keep int) (out []byte, taken []*item, size int) {
	b.prune()
	move := func(from *[]*item, room int, more func() bool) {
		n := 0
		for ; n < len(*from) && more(); n++ {
			it := (*from)[n]
			if n > 0 && size+len(it.octets) > room || keep >= 0 && b.kept+size > 0 && b.kept+size+len(it.octets) > keep {
				break
			}
			size += len(it.octets)
			taken = append(taken, it)
			if it.awaited() {
				b.flying++
			}
		}
		*from = slices.Delete(*from, 0, n)
	}
	room, open := maxBatch, func() bool { return b.flying < b.window }
	if len(b.queue) > 0 && open() {
		room /= 2
	}
	move(&b.replies, room, func() bool { return true })
	move(&b.queue, maxBatch, open)
	b.grow(-size)
	b.reckon()
	for _, it := range taken {
		it.sent = true
		buf = append(buf, it.octets...)
	}
	return buf, taken, size
}
