package gateway

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := newTurns()
		var mu sync.Mutex
		var wait sync.WaitGroup
		there, lone, most := 0, 0, 0
		for i := range 60 {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			wait.Go(func() {
				for range 20 {
					alone := r.IntN(5) == 0
					leave := turn.enter(alone)
					mu.Lock()
					if there++; alone {
						lone++
					}
					most = max(most, there)
					if lone > 1 || lone == 1 && there > 1 {
						t.Errorf("%d are there, %d of them alone", there, lone)
					}
					mu.Unlock()
					time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond) // a mutex would stop the time of this test
					mu.Lock()
					if there--; alone {
						lone--
					}
					mu.Unlock()
					leave()
				}
			})
		}
		wait.Wait()
		if most < 2 {
			t.Error("no two were there at once")
		}
	})
}
