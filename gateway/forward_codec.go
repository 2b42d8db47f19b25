package gateway

import (
	"encoding/json"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
)

// forwardVersion is that of what nodes say to each other. A node that does not know it answers errForward.
const forwardVersion = 1

// call is what one node asks another to do. Exactly one of the pointers is set.
type call struct {
	Version int             `json:"v"`
	Message *carriedMessage `json:"message,omitempty"`
	Report  *carriedReport  `json:"report,omitempty"`
	Tell    *carriedReport  `json:"tell,omitempty"`
	Entry   *carriedEntry   `json:"entry,omitempty"`
	Queue   *carriedQueue   `json:"queue,omitempty"`
	Watch   *carriedWatch   `json:"watch,omitempty"`
	Notify  *carriedNotify  `json:"notify,omitempty"`
	Attend  *carriedAttend  `json:"attend,omitempty"`
	Native  *carriedNative  `json:"native,omitempty"`
	Way     *carriedWay     `json:"way,omitempty"`
}

// carriedMessage is a message that another node has admitted: as in the journal, with what the journal has no need of.
type carriedMessage struct {
	Octets   json.RawMessage `json:"op"`
	Waited   time.Duration   `json:"waited"` // since it came
	Activity uint8           `json:"activity,omitempty"`
	Refresh  time.Duration   `json:"refresh,omitempty"`
	NoStore  bool            `json:"nostore,omitempty"`
}

// carriedReport is a late outcome: as it came from Side (Report), or as it goes to Side (Tell).
type carriedReport struct {
	Octets json.RawMessage `json:"op"`
	Side   string          `json:"side"`
}

// carriedEntry is an entry that was written for a part that another node owns.
type carriedEntry struct {
	ID string `json:"id"`
}

// carriedQueue is what an operator asks of the journal.
type carriedQueue struct {
	Do    string `json:"do"` // list, retry, drop, resume
	ID    string `json:"id,omitempty"`
	Dead  bool   `json:"dead,omitempty"`
	After string `json:"after,omitempty"`
}

// reply answers a call. Moved tells that nothing was done because the part is another node's: Owner's, if that is known; with Untouched it was not even
// begun, which a gateway before this field does not say. Late tells that the time of the call was over before it was known what became of it.
type reply struct {
	Late      bool           `json:"late,omitempty"`
	Moved     bool           `json:"moved,omitempty"`
	Owner     string         `json:"owner,omitempty"`
	Untouched bool           `json:"untouched,omitempty"`
	Fault     string         `json:"fault,omitempty"` // why nothing could be done
	Status    *carriedStatus `json:"status,omitempty"`
	Stored    []Stored       `json:"stored,omitempty"`
	More      bool           `json:"more,omitempty"`
	Found     bool           `json:"found,omitempty"`

	Watch  *carriedWatchStatus `json:"watch,omitempty"`
	Attend uint8               `json:"attend,omitempty"`
	Octets []byte              `json:"octets,omitempty"`
}

// carriedStatus is an adapters.Status.
type carriedStatus struct {
	Outcome    uint8         `json:"o"`
	Reason     string        `json:"r,omitempty"`
	Text       string        `json:"t,omitempty"`
	Remote     string        `json:"remote,omitempty"`
	NewAddress string        `json:"new,omitempty"`
	RetryAfter time.Duration `json:"after,omitempty"`
	Code       int           `json:"code,omitempty"`
}

func carryStatus(s adapters.Status) *carriedStatus {
	c := &carriedStatus{Outcome: uint8(s.Outcome), Text: s.Text, Remote: s.Remote, NewAddress: s.NewAddress, RetryAfter: s.RetryAfter, Code: s.Code}
	if s.Outcome == adapters.Failure {
		c.Reason = s.Reason.String()
	}
	return c
}

func (c *carriedStatus) status() adapters.Status {
	s := adapters.Status{
		Outcome: adapters.Outcome(c.Outcome), Text: c.Text, Remote: c.Remote, NewAddress: c.NewAddress, RetryAfter: c.RetryAfter, Code: c.Code,
	}
	switch s.Outcome {
	case adapters.Success, adapters.Indeterminate:
	default:
		s.Outcome, s.Reason = adapters.Failure, reasonNamed(c.Reason)
	}
	return s
}

// carryMessage writes a message for another node.
func carryMessage(d *delivery, now time.Time) ([]byte, error) {
	octets, err := encodeMessage(d.op, d.from.name, "")
	if err != nil {
		return nil, err
	}
	return json.Marshal(&call{Version: forwardVersion, Message: &carriedMessage{
		Octets: octets, Waited: now.Sub(d.began), Activity: uint8(d.op.Activity), Refresh: d.op.ActivityRefresh, NoStore: d.op.NoStore,
	}})
}

// message reads what carryMessage wrote.
func (c *carriedMessage) message() (*storedMessage, *adapters.MessageOp, error) {
	m, op, err := decodeMessage(c.Octets)
	if err != nil {
		return nil, nil, err
	}
	op.Activity, op.ActivityRefresh, op.NoStore = adapters.Activity(c.Activity), c.Refresh, c.NoStore
	return m, op, nil
}

// carryReport writes a report, which came from side or goes there. tell: it goes there.
func carryReport(r *adapters.Report, op string, s *side, tell bool) ([]byte, error) {
	octets, err := encodeNotice(r, op, s.name, "")
	if err != nil {
		return nil, err
	}
	c := &call{Version: forwardVersion}
	if x := (&carriedReport{Octets: octets, Side: s.name}); tell {
		c.Tell = x
	} else {
		c.Report = x
	}
	return json.Marshal(c)
}
