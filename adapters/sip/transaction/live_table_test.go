package transaction

import (
	"math/rand/v2"
	"testing"
)

// A liveTable says what a map says, also where all keys want the same places, and is as small afterwards as it was.
func TestLiveTable(t *testing.T) {
	for name, home := range map[string]func(r *rand.Rand) uint64{
		"spread":    func(r *rand.Rand) uint64 { return r.Uint64() },
		"one place": func(r *rand.Rand) uint64 { return 15<<32 | uint64(r.Uint32()) },
		"two places around the end": func(r *rand.Rand) uint64 {
			return uint64(15+r.IntN(2))<<32 | uint64(r.Uint32())
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var table liveTable
			table.init()
			model := map[hashKey]*ServerTx{}
			var keys []hashKey
			for range 300 {
				keys = append(keys, hashKey{r.Uint64N(3), home(r)})
			}
			for n := range 20_000 {
				key := keys[r.IntN(len(keys))]
				p := table.part(key)
				switch more := n/2000%2 == 0; {
				case p.get(key) != model[key]:
					t.Fatalf("step %d: another transaction than the map's", n)
				case r.IntN(4) == 0:
					if table.remove(key, &ServerTx{}) {
						t.Fatalf("step %d: removed what was not there", n)
					}
				case more || r.IntN(4) == 0:
					tx := &ServerTx{}
					p.put(key, tx)
					model[key] = tx
				default:
					tx := model[key]
					if got := tx != nil && table.remove(key, tx); got != (tx != nil) {
						t.Fatalf("step %d: not removed", n)
					}
					delete(model, key)
				}
			}
			for _, key := range keys {
				if tx := model[key]; table.part(key).get(key) != tx {
					t.Fatal("another transaction than the map's at the end")
				} else if tx != nil && !table.remove(key, tx) {
					t.Fatal("not removed at the end")
				}
			}
			for i := range table {
				if p := &table[i]; p.used != 0 || len(p.slots) > 2*minLive {
					t.Errorf("part %d has %d entries in %d places", i, p.used, len(p.slots))
				}
			}
		})
	}
}

// BenchmarkLiveTable is a transaction that comes, is looked for, and goes, among others.
func BenchmarkLiveTable(b *testing.B) {
	var table liveTable
	table.init()
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([]hashKey, 4096)
	for i := range keys {
		keys[i] = hashKey{r.Uint64(), r.Uint64()}
	}
	tx := &ServerTx{}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		key := keys[n%len(keys)]
		if p := table.part(key); p.get(key) == nil {
			p.put(key, tx)
		}
		if n++; n >= 500 {
			table.remove(keys[(n-500)%len(keys)], tx)
		}
	}
}
