package cluster_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// A node that was killed and is started again has its parts at once if it has the lock of the directory that the dead one had: nobody else can be it.
// With another directory it waits for the end of the dead one's lease. Nobody acts for a part of somebody else's meanwhile (world checks that).
func TestARestartedNodeTakesItsOwnLease(t *testing.T) {
	for _, c := range []struct {
		name, before, after string
		least, most         time.Duration
	}{
		{"the same directory", "home", "home", 0, 2 * time.Second},
		{"another directory", "home", "other", life - renew - time.Second, life + 4*time.Second},
		{"a store without a directory", "", "", life - renew - time.Second, life + 4*time.Second},
		{"of an earlier version", "", "home", life - renew - time.Second, life + 4*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, first := newWorld(t), &storetest.Memory{}
				on := func(name, home string) *node {
					m := first.Join(name)
					m.Settle(home)
					return w.join(m, name)
				}
				a, b := on("a", c.before), on("b", "home of b")
				a.act(rand.New(rand.NewPCG(5, 1)))
				b.act(rand.New(rand.NewPCG(5, 2)))
				time.Sleep(12 * time.Second)
				had := settled(t, []*node{a, b})["a"]
				for range 3 {
					a.kill()
					killed := time.Now()
					a = on("a", c.after)
					a.act(rand.New(rand.NewPCG(5, 3)))
					for owned := 0; owned < had; {
						time.Sleep(50 * time.Millisecond)
						owned = 0
						for p := range store.Parts {
							if _, ok := a.cluster.Enter(p); ok {
								owned++
								a.cluster.Exit(p)
							}
						}
						if time.Since(killed) > time.Minute {
							t.Fatalf("a has %d of %d parts", owned, had)
						}
					}
					if took := time.Since(killed); took < c.least || took > c.most {
						t.Errorf("a had its %d parts again after %v", had, took)
					}
					settled(t, []*node{a, b})
					c.before = c.after
					if c.name == "of an earlier version" {
						break
					}
					time.Sleep(12 * time.Second)
					if c.name == "another directory" {
						c.after += "."
					}
				}
				a.leave()
				b.leave()
			})
		})
	}
}
