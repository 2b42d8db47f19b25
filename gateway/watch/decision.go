package watch

import (
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// Decides tells whether a notification of the presentity's side is a decision of its user's: an approval or a refusal.
func Decides(op *adapters.NotifyOp) bool {
	return op.Change != adapters.AuthorizationUnchanged || op.State == adapters.WatchTerminated && op.End == adapters.EndRejected
}

// obsolete tells that a decision, or a cancellation, which may come late is not about what there is now: the watcher has asked, or the user decided, since
// it was taken. Whoever has taken it says it until it is written down, and meanwhile another gateway may have taken a newer one: that one is true, in
// whichever order they come. One that was written down already says nothing new.
func (t *turn) obsolete(e *Event) bool {
	switch {
	case t.auth == None || t.since.IsZero():
		return false
	case e.Asked != nil:
		return e.Asked.Verb == adapters.WatchCancel && (!e.Taken.After(t.since) || !e.Taken.After(t.wanted))
	case e.Told == nil || !Decides(e.Told):
		return false
	case t.auth == Asked && e.Told.Change == adapters.AuthorizationGranted:
		return e.Taken.Before(t.since.Add(-skew)) // her server approves by itself within milliseconds, at another gateway
	}
	return !e.Taken.After(t.since)
}

// skew is by how much the clocks of two gateways may differ.
const skew = time.Second
