package gateway

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// carriedID is an adapters.WatchID.
type carriedID struct {
	Watcher    string `json:"w"`
	Presentity string `json:"p"`
	Session    string `json:"s,omitempty"`
}

func carryID(id adapters.WatchID) carriedID {
	return carriedID{id.Watcher.String(), id.Presentity.String(), id.Session}
}

func (c *carriedID) id() (adapters.WatchID, error) {
	watcher, err := cpim.ParseAddress(c.Watcher)
	presentity, err2 := cpim.ParseAddress(c.Presentity)
	return adapters.WatchID{Watcher: watcher, Presentity: presentity, Session: c.Session}, errors.Join(err, err2)
}

// carriedWatch is a watch operation: as it came from Side, or, with Out, as it goes there.
type carriedWatch struct {
	Side     string        `json:"side"`
	Out      bool          `json:"out,omitempty"`
	ID       string        `json:"id"`
	Peer     string        `json:"peer,omitempty"`
	Verb     uint8         `json:"verb"`
	Watch    carriedID     `json:"watch"`
	Instance string        `json:"instance,omitempty"`
	TransID  string        `json:"trans,omitempty"`
	Duration time.Duration `json:"duration,omitempty"`
	Note     string        `json:"note,omitempty"`
	NoteLang string        `json:"lang,omitempty"`
	Name     string        `json:"name,omitempty"`
	Hops     int           `json:"hops"`
	Taken    time.Time     `json:"taken,omitzero"` // when it came
	Again    bool          `json:"again,omitempty"`
}

func carryWatch(s *side, op *adapters.WatchOp, out bool) ([]byte, error) {
	return encodeCall(&call{Version: forwardVersion, Watch: watchCarried(s, op, out)})
}

func watchCarried(s *side, op *adapters.WatchOp, out bool) *carriedWatch {
	return &carriedWatch{
		Side: s.name, Out: out, ID: op.ID, Peer: op.Peer.Name, Verb: uint8(op.Verb), Watch: carryID(op.Watch), Instance: op.Instance,
		TransID: op.TransID, Duration: op.Duration, Note: op.Note, NoteLang: op.NoteLang, Name: op.WatcherName, Hops: op.Hops,
	}
}

func (c *carriedWatch) operation() (*adapters.WatchOp, error) {
	id, err := c.Watch.id()
	return &adapters.WatchOp{
		ID: c.ID, Peer: adapters.Peer{Adapter: c.Side, Name: c.Peer}, Verb: adapters.WatchVerb(c.Verb), Watch: id, Instance: c.Instance,
		TransID: c.TransID, Duration: c.Duration, Note: c.Note, NoteLang: c.NoteLang, WatcherName: c.Name, Hops: c.Hops,
	}, err
}

// carriedWatchStatus is an adapters.WatchStatus.
type carriedWatchStatus struct {
	Status   *carriedStatus `json:"status"`
	State    uint8          `json:"state,omitempty"`
	End      uint8          `json:"end,omitempty"`
	Duration time.Duration  `json:"duration,omitempty"`
}

func carryWatchStatus(s adapters.WatchStatus) *carriedWatchStatus {
	return &carriedWatchStatus{carryStatus(s.Status), uint8(s.State), uint8(s.End), s.Duration}
}

func (c *carriedWatchStatus) status() adapters.WatchStatus {
	if c == nil || c.Status == nil {
		return adapters.WatchStatus{Status: adapters.Failed(adapters.ReasonInternal, "")}
	}
	return adapters.WatchStatus{
		Status: c.Status.status(), State: adapters.WatchState(c.State), End: adapters.EndReason(c.End), Duration: c.Duration,
	}
}

// carriedNotify is a notification: as it came from Side, or, with Out, as it goes there. Leaving: it only tells that its watcher may have
// gone offline.
type carriedNotify struct {
	Side       string         `json:"side"`
	Out        bool           `json:"out,omitempty"`
	Leaving    bool           `json:"leaving,omitempty"`
	ID         string         `json:"id"`
	Peer       string         `json:"peer,omitempty"`
	Watch      carriedID      `json:"watch"`
	State      uint8          `json:"state,omitempty"`
	End        uint8          `json:"end,omitempty"`
	Duration   time.Duration  `json:"duration,omitempty"`
	RetryAfter time.Duration  `json:"after,omitempty"`
	Change     uint8          `json:"change,omitempty"`
	Instance   string         `json:"instance,omitempty"`
	Whole      bool           `json:"whole,omitempty"`
	Presence   string         `json:"pidf,omitempty"`
	SealedType string         `json:"sealedtype,omitempty"`
	Sealed     []byte         `json:"sealed,omitempty"`
	Withdrawn  []string       `json:"withdrawn,omitempty"`
	Language   string         `json:"lang,omitempty"`
	Failure    *carriedStatus `json:"failure,omitempty"`
	Taken      time.Time      `json:"taken,omitzero"` // of a decision
	Again      bool           `json:"again,omitempty"`
}

func carryNotify(s *side, op *adapters.NotifyOp, out, leaving bool) ([]byte, error) {
	c, err := notifyCarried(s, op, out, leaving)
	if err != nil {
		return nil, err
	}
	return encodeCall(&call{Version: forwardVersion, Notify: c})
}

func notifyCarried(s *side, op *adapters.NotifyOp, out, leaving bool) (*carriedNotify, error) {
	c := &carriedNotify{
		Side: s.name, Out: out, Leaving: leaving, ID: op.ID, Peer: op.Peer.Name, Watch: carryID(op.Watch), State: uint8(op.State), End: uint8(op.End),
		Duration: op.Duration, RetryAfter: op.RetryAfter, Change: uint8(op.Change), Instance: op.Instance, Whole: op.Whole, Language: op.Language,
	}
	if op.Presence != nil && !leaving {
		octets, err := op.Presence.Append(nil)
		if err != nil {
			return nil, err
		}
		c.Presence = string(octets)
		if op.Sealed != nil {
			c.SealedType, c.Sealed = op.Sealed.Type, op.Sealed.Octets
		}
	}
	for _, id := range op.Withdrawn {
		c.Withdrawn = append(c.Withdrawn, id.String())
	}
	if op.Failure.Outcome != 0 {
		c.Failure = carryStatus(op.Failure)
	}
	return c, nil
}

func (c *carriedNotify) operation() (*adapters.NotifyOp, error) {
	id, err := c.Watch.id()
	if err != nil {
		return nil, err
	}
	op := &adapters.NotifyOp{
		ID: c.ID, Peer: adapters.Peer{Adapter: c.Side, Name: c.Peer}, Watch: id, State: adapters.WatchState(c.State), End: adapters.EndReason(c.End),
		Duration: c.Duration, RetryAfter: c.RetryAfter, Change: adapters.AuthorizationChange(c.Change), Instance: c.Instance, Whole: c.Whole,
		Language: c.Language,
	}
	if c.Presence != "" {
		if op.Presence, err = pidf.Parse([]byte(c.Presence)); err != nil {
			return nil, err
		}
		if c.SealedType != "" {
			op.Sealed = &adapters.Content{Type: c.SealedType, Octets: c.Sealed}
		}
	}
	for _, text := range c.Withdrawn {
		gone, err := pidf.ParseID(text)
		if err != nil {
			return nil, err
		}
		op.Withdrawn = append(op.Withdrawn, gone)
	}
	if c.Failure != nil {
		op.Failure = c.Failure.status()
	}
	return op, nil
}

// carriedAttend asks whether a watcher is online.
type carriedAttend struct {
	Side  string    `json:"side"`
	ID    string    `json:"id"`
	Watch carriedID `json:"watch"`
}

func carryAttend(s *side, op *adapters.AttendOp) ([]byte, error) {
	return json.Marshal(&call{Version: forwardVersion, Attend: &carriedAttend{s.name, op.ID, carryID(op.Watch)}})
}

// carriedNative is what an adapter hands to the same one of the gateway that a pair is of.
type carriedNative struct {
	Side   string    `json:"side"`
	Watch  carriedID `json:"watch"`
	Octets []byte    `json:"octets"`
}

// carriedWay tells that a way of an adapter broke, or is back.
type carriedWay struct {
	Ours   string `json:"ours"`
	Theirs string `json:"theirs"`
	Back   bool   `json:"back,omitempty"`
}
