package gateway_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// lateFailure is a message that crossed by the owner of its part, and the failure that comes for it later, to another node.
type lateFailure struct {
	*fleet
	t      *testing.T
	at     *member // the failure comes to it
	atName string
	id     string
}

func newLateFailure(t *testing.T) *lateFailure {
	t.Helper()
	f := &lateFailure{fleet: newFleet(t, "a", "b", "c"), t: t}
	f.at = f.stranger(places[0])
	for name, m := range f.nodes {
		if m == f.at {
			f.atName = name
		}
	}
	op := message(romeo, juliet, "x")
	op.TransID, op.Wants = "given", adapters.WantFailed|adapters.WantDelivered
	<-f.at.send(f.at.sip, op)
	f.id = f.server.ids["x"][0]
	return f
}

func (f *lateFailure) comes(m *member, kind adapters.ReportKind) {
	m.xmpp.Handler().Report(f.t.Context(), &adapters.Report{
		Kind: kind, Sender: romeo, Recipient: juliet, TransID: f.id, Status: adapters.Failed(adapters.ReasonNotFound, ""),
	})
}

// heard checks what the sender has heard at the nodes that live, and that nothing is left.
func (f *lateFailure) heard(before ...*adapters.Report) {
	f.t.Helper()
	told := before
	for _, m := range f.nodes {
		told = append(told, m.sip.Reports()...)
	}
	if len(told) != 1 || told[0].TransID != "given" || told[0].Status.Reason != adapters.ReasonNotFound {
		f.t.Errorf("told: %+v", told)
	}
	empty(f.t, f.memory)
}

// I3: a late outcome whose part has no owner that can be reached for longer than anybody waits is told all the same, and once.
func TestALateOutcomeWithoutAnOwnerIsKept(t *testing.T) {
	unreached := func(string) storetest.Loss { return storetest.Refused }
	t.Run("and handed on when there is one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newLateFailure(t)
			defer f.shutdown()
			f.at.memory.LoseCalls(unreached)
			f.comes(f.at, adapters.ReportFailed)
			f.comes(f.at, adapters.ReportFailed)
			time.Sleep(2 * time.Minute)
			if n := f.memory.Entries(); n != 1 {
				t.Errorf("%d entries hold it", n)
			}
			f.at.memory.LoseCalls(nil)
			time.Sleep(time.Minute)
			f.comes(f.at, adapters.ReportDelivered) // a second terminal outcome
			time.Sleep(time.Minute)
			f.heard()
		})
	})
	t.Run("by the next owner, when the node that it came to dies", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newLateFailure(t)
			defer f.shutdown()
			f.at.memory.LoseCalls(unreached)
			f.comes(f.at, adapters.ReportFailed)
			time.Sleep(time.Minute)
			f.kill(f.atName)
			f.kill(f.holder(places[0]))
			time.Sleep(time.Minute)
			f.heard()
		})
	})
	t.Run("also while the store takes nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newLateFailure(t)
			defer f.shutdown()
			f.at.memory.LoseCalls(unreached)
			f.at.memory.FailWith(func(method string) error {
				if method == "Append" {
					return store.ErrUnavailable
				}
				return nil
			})
			f.comes(f.at, adapters.ReportFailed)
			time.Sleep(5 * time.Minute)
			f.at.memory.FailWith(nil)
			time.Sleep(time.Minute)
			f.kill(f.atName)
			f.kill(f.holder(places[0]))
			time.Sleep(time.Minute)
			f.heard()
		})
	})
	t.Run("and not told when the owner has told another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newLateFailure(t)
			defer f.shutdown()
			owner := f.nodes[f.holder(places[0])]
			f.at.memory.LoseCalls(unreached)
			f.comes(f.at, adapters.ReportFailed)
			time.Sleep(time.Minute)
			f.comes(owner, adapters.ReportFailed)
			time.Sleep(time.Second)
			before := owner.sip.Reports()
			f.at.memory.LoseCalls(nil)
			time.Sleep(time.Minute)
			f.kill(f.holder(places[0])) // nor by the next one
			time.Sleep(time.Minute)
			f.heard(before...)
		})
	})
	t.Run("while its owner cannot tell it either", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newLateFailure(t)
			defer f.shutdown()
			owner := f.nodes[f.holder(places[0])]
			f.at.memory.LoseCalls(unreached)
			f.comes(f.at, adapters.ReportFailed)
			time.Sleep(time.Minute)
			// The journal takes no notice, and the facts do not say whether one was told.
			owner.memory.FailWith(func(method string) error {
				if method == "Get" {
					return store.ErrUnavailable
				}
				return nil
			})
			f.at.memory.LoseCalls(nil)
			time.Sleep(7 * time.Second) // its lease does not end
			owner.memory.FailWith(nil)
			time.Sleep(time.Minute)
			f.heard()
		})
	})
	t.Run("unless it is not of a message of ours", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newLateFailure(t)
			defer f.shutdown()
			f.at.memory.LoseCalls(unreached)
			id := f.id
			f.id = "x.forged"
			f.comes(f.at, adapters.ReportFailed)
			f.id = id
			f.comes(f.at, adapters.ReportDelayed)
			time.Sleep(2 * time.Minute)
			if n := f.memory.Entries(); n != 0 {
				t.Errorf("%d entries are stored", n)
			}
			f.at.memory.LoseCalls(nil)
			f.comes(f.at, adapters.ReportFailed)
			time.Sleep(time.Minute)
			f.heard()
		})
	})
}
