package store

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// One node makes what is missing. The others leave it to those before them in the order of their names, for turnEvery each since they missed it, however long they have
// waited for something else before: the first may never come.
func TestOneNodeMakesTheStreams(t *testing.T) {
	nodes := []Peer{{Name: "c"}, {Name: "a"}, {Name: "b"}}
	for name, x := range map[string]struct {
		cluster *Cluster
		after   time.Duration
	}{
		"without a cluster":         {nil, 0},
		"servers that are not ours": {&Cluster{Node: "x", URLs: []string{"tls://s.example:4222"}}, 0},
		"the first":                 {&Cluster{Node: "a", Nodes: nodes}, 0},
		"the second":                {&Cluster{Node: "b", Nodes: nodes}, turnEvery},
		"the third":                 {&Cluster{Node: "c", Nodes: nodes}, 2 * turnEvery},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMaker(t.Context(), x.cluster)
				time.Sleep(time.Hour) // nobody answered: what is missing was not known
				missed := time.Now()
				for {
					err := m.turn()
					if err == nil {
						break
					}
					if !errors.Is(err, errTurn) || time.Since(missed) > time.Minute {
						t.Fatalf("%v after %v", err, time.Since(missed))
					}
					time.Sleep(time.Second)
				}
				if took := time.Since(missed); took != x.after {
					t.Errorf("its turn came after %v, want %v", took, x.after)
				}
			})
		})
	}
}
