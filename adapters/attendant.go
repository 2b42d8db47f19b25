package adapters

import (
	"context"
	"time"

	"github.com/isthmus-gateway/isthmus/resolver"
)

// Attendance is whether a user is online.
type Attendance uint8

// The attendances.
const (
	// AttendanceUnknown: her server did not say: silence, an error, or an answer that it gives to strangers (XMPP "unsubscribed").
	AttendanceUnknown Attendance = iota
	// AttendancePresent: a device of hers is available.
	AttendancePresent
	// AttendanceAbsent: her server says that none is.
	AttendanceAbsent
)

// String returns the attendance's name for logs and metrics.
func (a Attendance) String() string {
	switch a {
	case AttendancePresent:
		return "present"
	case AttendanceAbsent:
		return "absent"
	default:
		return "unknown"
	}
}

// AttendOp asks whether a watcher is online.
type AttendOp struct {
	// ID names this operation in logs.
	ID string
	// Watch is whose watch it is asked for; its Watcher lives behind the adapter.
	Watch WatchID
	// Deadline is when the answer is AttendanceUnknown at the latest.
	Deadline time.Time
}

// Attendant is an Adapter whose users' watches last as long as they are online, and that can ask whether they are: "whenever an
// XMPP-to-SIP gateway seeks to refresh an XMPP user's long-lived authorization to a SIP user's presence, it first sends an XMPP
// <presence/> stanza of type "probe" from the address of the XMPP-to-SIP gateway to the "bare Jabber Identifier (JID)" ... of the XMPP
// user" (RFC 8048 §8.1). The gateway asks before each refresh; a watcher who is absent is not watched for any longer.
type Attendant interface {
	Adapter

	// Attends asks op.Watch.Watcher's server and waits for its answer, or until op.Deadline. It is called from many goroutines at
	// once; questions about one watcher at the same time may share one answer.
	Attends(ctx context.Context, hops []resolver.Target, op *AttendOp) Attendance
}
