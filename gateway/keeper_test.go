package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/adapters/adaptertest"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// slowFacts takes a second for each write, and counts them.
type slowFacts struct {
	*storetest.Memory
	mu     sync.Mutex
	writes map[string]int
}

func (s *slowFacts) Put(ctx context.Context, bucket, key string, value []byte, life time.Duration) error {
	time.Sleep(time.Second)
	s.mu.Lock()
	s.writes[key]++
	s.mu.Unlock()
	return s.Memory.Put(ctx, bucket, key, value, life)
}

func julietOf(name string) adapters.WatchID {
	return adapters.WatchID{
		Watcher: cpim.MustParseAddress("pres:" + name + "@example.net"), Presentity: cpim.MustParseAddress("pres:juliet@example.com"), Session: "d",
	}
}

// Nobody waits, and of what waits only the newest is written.
func TestKeeperWritesTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowFacts{Memory: &storetest.Memory{}, writes: map[string]int{}}
		k := newKeeper(disk, func(err error) { t.Error(err) })
		r := records{keeper: k, side: "sip"}
		begin := time.Now()
		done := 0
		for i := range 100 {
			r.Save(julietOf("romeo"), "tag", fmt.Appendf(nil, "%d", i), func(err error) {
				if err != nil {
					t.Error(err)
				}
				done++
			})
		}
		if time.Since(begin) != 0 {
			t.Error("a caller waited for the disk")
		}
		if err := k.stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		at, _ := r.name(julietOf("romeo"), "tag")
		if n := disk.writes[at.key]; n > 2 || n == 0 {
			t.Errorf("%d writes of one fact", n)
		}
		if done != 100 {
			t.Errorf("%d of 100 callers were told", done)
		}
		back := &keepingFake{}
		g := &Gateway{keeper: newKeeper(disk, func(error) {}), sides: map[string]*side{"sip": {name: "sip", adapter: back}}}
		part, _ := pairHash(pairOf(julietOf("romeo")))
		for p := range store.Parts {
			back.resumed = nil
			if err := g.resumeRecords(t.Context(), []int{p}, func(pair) []string { return []string{"d"} }); err != nil {
				t.Fatal(err)
			}
			list := back.resumed
			switch {
			case p != part && len(list) != 0:
				t.Errorf("part %d has what belongs to part %d", p, part)
			case p == part && (len(list) != 1 || string(list[0].Octets) != "99" || list[0].Name != "tag" || list[0].Sessions[0] != "d" || list[0].Of.Watcher != julietOf("romeo").Watcher):
				t.Errorf("kept: %+v", list)
			}
		}
	})
}

// A disk that fails is tried again until the value is written or replaced; who waited is told once.
func TestKeeperTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		troubles := 0
		k := newKeeper(disk, func(error) { troubles++ })
		disk.FailWith(func(string) error { return store.ErrUnavailable })
		var told []error
		r := records{keeper: k, side: "sip"}
		r.Save(julietOf("romeo"), "tag", []byte("one"), func(err error) { told = append(told, err) })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(told) != 1 || !errors.Is(told[0], store.ErrUnavailable) || troubles != 1 || k.waiting() != 1 {
			t.Errorf("told %v, %d troubles, %d wait", told, troubles, k.waiting())
		}
		r.Forget(julietOf("mercutio"), "tag", nil)
		disk.FailWith(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		at, _ := r.name(julietOf("romeo"), "tag")
		if _, _, err := disk.Get(t.Context(), at.bucket, at.key); err != nil || k.waiting() != 0 {
			t.Errorf("%v, %d wait", err, k.waiting())
		}
		if err := k.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A disk that never comes back does not hold the end up.
func TestKeeperStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		disk.FailWith(func(string) error { return store.ErrUnavailable })
		k := newKeeper(disk, func(error) {})
		records{keeper: k, side: "sip"}.Save(julietOf("romeo"), "tag", []byte("one"), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := k.stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop: %v", err)
		}
	})
}

func TestKeeperRefusesNames(t *testing.T) {
	r := records{keeper: newKeeper(&storetest.Memory{}, func(error) {}), side: "sip"}
	for _, name := range []string{"", "a.b", "a/b", "a b", "ä", string(make([]byte, 65))} {
		var got error
		r.Save(julietOf("romeo"), name, nil, func(err error) { got = err })
		if !errors.Is(got, errRecord) {
			t.Errorf("name %q: %v", name, got)
		}
	}
	var got error
	r.Save(julietOf("romeo"), "tag", make([]byte, adapters.MaxRecord+1), func(err error) { got = err })
	if !errors.Is(got, errRecord) {
		t.Errorf("a record that is too large: %v", got)
	}
}

// keepingFake is an adapter that keeps.
type keepingFake struct {
	*adaptertest.Fake
	keeper  adapters.Keeper
	resumed []adapters.Record
}

func (k *keepingFake) Keep(keeper adapters.Keeper)      { k.keeper = keeper }
func (k *keepingFake) Resume(records []adapters.Record) { k.resumed = append(k.resumed, records...) }

// What an adapter saved comes back to it, and only to it, before it starts.
func TestAdapterGetsItsRecordsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		start := func() (*Gateway, *keepingFake, *keepingFake) {
			sip := &keepingFake{Fake: adaptertest.NewFake("sip", adapters.Capabilities{})}
			xmpp := &keepingFake{Fake: adaptertest.NewFake("xmpp", adapters.Capabilities{})}
			g, err := New(Config{
				Adapters:  []adapters.Adapter{sip, xmpp},
				OpenStore: func(context.Context) (store.Durable, error) { return disk, nil },
			})
			if err == nil {
				err = g.Start(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			return g, sip, xmpp
		}
		g, sip, _ := start()
		for i := range 200 {
			sip.keeper.Save(julietOf(fmt.Sprintf("user%d", i)), "dialog", []byte{byte(i)}, nil)
		}
		sip.keeper.Forget(julietOf("user7"), "dialog", nil)
		if err := g.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		g, sip, xmpp := start()
		if len(sip.resumed) != 199 || len(xmpp.resumed) != 0 {
			t.Errorf("%d records came back to their adapter, %d to the other", len(sip.resumed), len(xmpp.resumed))
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// lostFacts loses every write that is under way until a time, as a cluster does whose leader has died, each after its own patience.
type lostFacts struct {
	*storetest.Memory
	until time.Time
}

func (l *lostFacts) Put(ctx context.Context, bucket, key string, value []byte, life time.Duration) error {
	if time.Now().Before(l.until) {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.Memory.Put(ctx, bucket, key, value, life)
}

// Many writes that a dead leader has lost are one failure, and not one after the other ever longer waits.
func TestKeeperCountsWhatFailsTogetherOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &lostFacts{Memory: &storetest.Memory{}, until: time.Now().Add(4 * time.Second)}
		troubles := 0
		k := newKeeper(disk, func(error) { troubles++ })
		r := records{keeper: k, side: "sip"}
		for i := range 30 {
			r.Save(julietOf(fmt.Sprintf("romeo%d", i)), "tag", []byte("one"), nil)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(keeperWait + keeperRetryFirst) // the last of them has failed, and been written again
		synctest.Wait()
		if n := k.waiting(); n != 0 || troubles != 1 {
			t.Errorf("%d of 30 are not written, %d troubles", n, troubles)
		}
		if err := k.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Who waits for a disk that goes on failing is told so, however many wait: presence goes on in memory, and a SIP user agent waits 32 s for an
// answer (Timer F). What could not be written is written when the disk is back.
func TestKeeperTellsAllThatWaitThatTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &storetest.Memory{}
		disk.FailWith(func(string) error { return errors.New("no space left") })
		k := newKeeper(disk, func(error) {})
		const many = 50 * keeperWriters
		told := make(chan time.Duration, 2*many)
		put := func(i int) {
			began := time.Now()
			k.put(factName{bucketPart(bucketWatches, i%store.Parts), fmt.Sprint(i)}, []byte("x"), func(err error) {
				if err == nil {
					t.Error("what was not written counts as written")
				}
				told <- time.Since(began)
			})
		}
		for i := range many {
			put(i)
		}
		time.Sleep(time.Minute)
		for i := range many { // while it is known to fail, and others wait to be tried again
			put(many + i)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(told) != 2*many {
			t.Fatalf("%d of %d were told within a minute", len(told), 2*many)
		}
		for range 2 * many {
			if waited := <-told; waited > 15*time.Second {
				t.Fatalf("one waited %s", waited)
			}
		}
		disk.FailWith(nil)
		if err := k.stop(t.Context()); err != nil || k.waiting() != 0 {
			t.Errorf("%v, %d are not written", err, k.waiting())
		}
	})
}
