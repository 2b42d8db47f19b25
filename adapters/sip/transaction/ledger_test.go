package transaction

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever comes and ends, and however alike the hashes are, the ledger holds what a plain map would.
func TestLedgerAgainstAMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = 10 * time.Second
		var l ledger[uint32]
		l.init(2, 0, life)
		stop := make(chan struct{})
		w := newWheel(50 * time.Millisecond)
		go w.run(stop)
		var kept atomic.Int64
		l.expireBy(w, func(n int) { kept.Add(int64(-n)) })
		for i := range l.parts { // numbers begin again
			l.parts[i].head, l.parts[i].next = numberMask-blockSize+1, numberMask-blockSize+1
		}
		type known struct {
			value uint32
			more  string
			until time.Time
		}
		model := make(map[hashKey]known)
		rnd := rand.New(rand.NewPCG(1, 2))
		key := func() hashKey {
			n := rnd.Uint64N(3000)
			return hashKey{n, n % 50 << 32} // much in the same place
		}
		for i := range 60_000 {
			k := key()
			v, more, ok := l.get(time.Now(), k)
			want, there := model[k]
			if there = there && time.Now().Before(want.until); ok != there || ok && (v != want.value || string(more) != want.more) {
				t.Fatalf("step %d: %v: %d %q %v, should be %+v %v", i, k, v, more, ok, want, there)
			}
			switch rnd.IntN(8) {
			case 0, 1, 2:
				var beside []byte
				if rnd.IntN(4) == 0 {
					beside = []byte{byte(i), 'x'}
				}
				l.put(time.Now(), k, uint32(i), beside)
				kept.Add(1)
				model[k] = known{uint32(i), string(beside), time.Now().Add(life + 2*time.Millisecond)}
			case 3:
				if rnd.IntN(20) == 0 {
					time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
				}
			}
		}
		for k, want := range model {
			if _, _, ok := l.get(time.Now(), k); ok != time.Now().Before(want.until) {
				t.Errorf("%v: %v", k, ok)
			}
		}
		time.Sleep(life + time.Second)
		synctest.Wait()
		for i := range l.parts {
			p := &l.parts[i]
			p.mu.Lock()
			if p.len() != 0 || p.used != 0 || len(p.more) != 0 || len(p.blocks) > 1 || len(p.index) != minIndex {
				t.Errorf("left: %d entries, %d slots, %d beside, %d blocks, index of %d", p.len(), p.used, len(p.more), len(p.blocks), len(p.index))
			}
			p.mu.Unlock()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if kept.Load() != 0 || w.armed != 0 {
			t.Errorf("%d counted, %d timers", kept.Load(), w.armed)
		}
		close(stop)
	})
}

// BenchmarkLedger is an entry of a full ledger and the search for it. B/entry is what one holds.
func BenchmarkLedger(b *testing.B) {
	var l ledger[reply]
	l.init(ledgerParts, 1<<20, time.Hour)
	key := func(n uint64) hashKey {
		n *= 0x9E3779B97F4A7C15
		return hashKey{n, n*0xD6E8FEB86659FD93 ^ n>>17}
	}
	before := heapNow()
	for n := range uint64(1 << 20) {
		l.put(time.Now(), key(n), reply{}, nil)
	}
	held := heapNow() - before
	b.ReportAllocs()
	n := uint64(1 << 20)
	for b.Loop() {
		l.put(time.Now(), key(n), reply{}, nil)
		if _, _, ok := l.get(time.Now(), key(n)); !ok {
			b.Fatal("not found")
		}
		n++
	}
	b.ReportMetric(float64(held)/(1<<20), "B/entry")
}
