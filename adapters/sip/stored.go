package sip

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// The form in which dialogs and publications are kept across restarts. It is JSON, so that a later version reads what an earlier one wrote
// and an operator can look at it; names are never used again for another meaning. A record of another version is left as it is.
const storedVersion = 1

// maxStored bounds one record, in octets: the largest is a publication, whose document JSON may make six times as long.
const maxStored = 8 * maxPublished

// The kinds of records, which are the beginnings of their names.
const (
	storedNotifier   = "n-" // and the local tag
	storedSubscriber = "s-" // and the local tag
	storedUploaded   = "p-" // and the publication's own name
	storedPublishing = "u-" // and the session of the watch
)

var (
	errStoredVersion = errors.New("sip: a record of another version")
	errStoredSize    = errors.New("sip: a record that is too large")
)

// storedDialog is a Dialog as it is kept. CSeq and PartialVersion are what is reserved, not what was used: see reserve.
type storedDialog struct {
	Version int `json:"v"`

	Role       Role      `json:"role"`
	CallID     string    `json:"call"`
	LocalTag   string    `json:"ltag"`
	RemoteTag  string    `json:"rtag"`
	LocalURI   string    `json:"local"`
	RemoteURI  string    `json:"remote"`
	LocalCSeq  uint32    `json:"lseq"`
	RemoteCSeq uint32    `json:"rseq,omitempty"`
	HasRemote  bool      `json:"rseen,omitempty"`
	RouteSet   []string  `json:"route,omitempty"`
	Target     string    `json:"target"`
	Contact    string    `json:"contact"`
	Event      string    `json:"event"`
	Expires    time.Time `json:"exp"`
	Confirmed  bool      `json:"confirmed,omitempty"`
	State      uint8     `json:"state,omitempty"`
	End        uint8     `json:"end,omitempty"`
	Granted    bool      `json:"granted,omitempty"`
	Partial    bool      `json:"partial,omitempty"`
	PartialSeq uint32    `json:"partialseq,omitempty"`
	Signed     bool      `json:"signed,omitempty"`
	CMS        bool      `json:"cms,omitempty"`
	Peer       string    `json:"peer,omitempty"`
	Source     string    `json:"source,omitempty"`
	Transport  string    `json:"transport,omitempty"`
	Watcher    string    `json:"watcher"`
	Presentity string    `json:"presentity"`
	Session    string    `json:"session,omitempty"`
	Said       string    `json:"said,omitempty"`
}

// reserve is how many sequence numbers a record takes ahead of the last one that was used, so that a request within a dialog costs no write.
// When half of them are used the record is written again, in its own time; so even a store that fails for the next 512 requests costs
// nothing. After a crash the numbers go on behind those reserved: a gap is allowed for ("it is possible for the CSeq sequence number to be
// higher than the remote sequence number by more than one. This is not an error condition", RFC 3261 §12.2.2), a number that comes
// again is not.
const reserve = 1024

// runsOut tells whether what is reserved up to bound should be reserved anew, with the number used last.
func runsOut(used, bound uint32) bool { return used >= bound || bound-used <= reserve/2 }

// reserved returns d with the numbers that are reserved for it.
func (d *Dialog) reserved() Dialog {
	r := *d
	r.LocalCSeq = min(d.LocalCSeq+reserve, maxCSeq-1)
	if d.Role == Notifier && d.Partial {
		// A NOTIFY has at most one document, so the versions of partial documents (RFC 5262 §3.1) are used up no faster.
		r.PartialVersion = d.PartialVersion + min(reserve, math.MaxUint32-d.PartialVersion)
	}
	return r
}

// appendDialog writes a record.
func appendDialog(d *Dialog) ([]byte, error) {
	return json.Marshal(&storedDialog{
		Version: storedVersion, Role: d.Role, CallID: d.CallID, LocalTag: d.LocalTag, RemoteTag: d.RemoteTag, LocalURI: d.LocalURI,
		RemoteURI: d.RemoteURI, LocalCSeq: d.LocalCSeq, RemoteCSeq: d.RemoteCSeq, HasRemote: d.HasRemoteCSeq, RouteSet: d.RouteSet,
		Target: d.RemoteTarget, Contact: d.Contact, Event: d.Event, Expires: storedTime(d.Expires), Confirmed: d.Confirmed, State: uint8(d.State), End: uint8(d.End),
		Granted: d.Granted, Partial: d.Partial, PartialSeq: d.PartialVersion, Signed: d.Sealing.Signed, CMS: d.Sealing.CMS, Peer: d.Peer, Source: d.Source, Transport: d.Transport,
		Watcher: d.Watcher.String(), Presentity: d.Presentity.String(), Session: d.Session, Said: d.Said,
	})
}

// storedTime is a time as records have it: of the wall clock, because no other goes on while the process does not, in milliseconds.
func storedTime(t time.Time) time.Time { return t.Round(0).UTC().Truncate(time.Millisecond) }

// parseDialog reads a record and checks what it says, so that a damaged one cannot make a request that is none.
func parseDialog(b []byte) (Dialog, error) {
	var s storedDialog
	if err := parseStored(b, &s, &s.Version); err != nil {
		return Dialog{}, err
	}
	d := Dialog{
		Role: s.Role, CallID: s.CallID, LocalTag: s.LocalTag, RemoteTag: s.RemoteTag, LocalURI: s.LocalURI, RemoteURI: s.RemoteURI,
		LocalCSeq: s.LocalCSeq, RemoteCSeq: s.RemoteCSeq, HasRemoteCSeq: s.HasRemote, RouteSet: s.RouteSet, RemoteTarget: s.Target,
		Contact: s.Contact, Event: s.Event, Expires: storedTime(s.Expires), Confirmed: s.Confirmed, State: adapters.WatchState(s.State), End: adapters.EndReason(s.End), Granted: s.Granted,
		Partial: s.Partial, PartialVersion: s.PartialSeq, Sealing: Sealing{Signed: s.Signed, CMS: s.CMS}, Peer: s.Peer, Source: s.Source, Transport: s.Transport, Session: s.Session, Said: s.Said,
	}
	var err error
	if d.Watcher, d.Presentity, err = storedPair(s.Watcher, s.Presentity); err != nil {
		return Dialog{}, err
	}
	return d, d.check()
}

func storedPair(watcher, presentity string) (w, p cpim.Address, err error) {
	if w, err = cpim.ParseAddress(watcher); err == nil {
		p, err = cpim.ParseAddress(presentity)
	}
	if err == nil && (w.Scheme() != cpim.Pres || p.Scheme() != cpim.Pres) {
		err = errors.New("sip: a record of something that is no pres: address")
	}
	return w, p, err
}

// parseStored reads the JSON of a record into s, whose version it checks.
func parseStored(b []byte, s any, version *int) error {
	if len(b) > maxStored {
		return errStoredSize
	}
	if err := json.Unmarshal(b, s); err != nil {
		return fmt.Errorf("sip: a record cannot be read: %w", err)
	}
	if *version != storedVersion {
		return errStoredVersion
	}
	return nil
}

// storedPublication is what a user agent published here.
type storedPublication struct {
	Version    int       `json:"v"`
	Presentity string    `json:"presentity"`
	ETag       string    `json:"etag"`
	Until      time.Time `json:"exp"`
	Order      time.Time `json:"made"` // when it was made: the order of one user's publications
	Document   string    `json:"pidf"`
	SealedType string    `json:"sealedtype,omitempty"`
	Sealed     []byte    `json:"sealed,omitempty"`
}

// uploaded is a storedPublication, checked.
type uploaded struct {
	presentity  cpim.Address
	etag        string
	until, made time.Time
	doc         *pidf.Presence
	sealed      *adapters.Content
}

func appendUploaded(u *uploaded) ([]byte, error) {
	doc, err := u.doc.Append(nil)
	if err != nil {
		return nil, err
	}
	s := &storedPublication{
		Version: storedVersion, Presentity: u.presentity.String(), ETag: u.etag, Until: storedTime(u.until), Order: u.made.Round(0).UTC(), Document: string(doc),
	}
	if u.sealed != nil {
		s.SealedType, s.Sealed = u.sealed.Type, u.sealed.Octets
	}
	return json.Marshal(s)
}

func parseUploaded(b []byte) (u uploaded, err error) {
	var s storedPublication
	if err := parseStored(b, &s, &s.Version); err != nil {
		return u, err
	}
	if !isToken(s.ETag) {
		return u, errors.New("sip: a stored publication without an entity-tag")
	}
	if u.presentity, _, err = storedPair(s.Presentity, s.Presentity); err != nil {
		return u, err
	}
	u.etag, u.until, u.made = s.ETag, storedTime(s.Until), s.Order.UTC()
	if u.doc, err = pidf.Parse([]byte(s.Document)); err != nil {
		return u, err
	}
	if ref := checkEntity(u.doc, u.presentity, ReadOptions{IgnorePort: true, FoldCase: true}); ref != nil {
		return u, ref
	}
	if s.SealedType != "" {
		u.sealed = &adapters.Content{Type: s.SealedType, Octets: s.Sealed}
	}
	return u, nil
}

// storedUpload is a user of the other network whose presence goes to a presence server.
type storedUpload struct {
	Version int       `json:"v"`
	Watcher string    `json:"watcher"`
	User    string    `json:"user"`
	Session string    `json:"session"`
	ETag    string    `json:"etag,omitempty"`
	Until   time.Time `json:"exp,omitzero"`
	Leaving bool      `json:"leaving,omitempty"`
}

// upload is a storedUpload, checked: the watch, and the publication that the server has of it, if etag is not "".
type upload struct {
	watch   adapters.WatchID
	etag    string
	until   time.Time
	leaving bool
}

func appendUpload(u *upload) ([]byte, error) {
	return json.Marshal(&storedUpload{
		Version: storedVersion, Watcher: u.watch.Watcher.String(), User: u.watch.Presentity.String(), Session: u.watch.Session, ETag: u.etag,
		Until: storedTime(u.until), Leaving: u.leaving,
	})
}

func parseUpload(b []byte) (u upload, err error) {
	var s storedUpload
	if err := parseStored(b, &s, &s.Version); err != nil {
		return u, err
	}
	if s.ETag != "" && !isToken(s.ETag) || !isToken(s.Session) {
		return u, errors.New("sip: a stored publishing without a session, or with an entity-tag that is none")
	}
	u.etag, u.until, u.leaving, u.watch.Session = s.ETag, storedTime(s.Until), s.Leaving, s.Session
	u.watch.Watcher, u.watch.Presentity, err = storedPair(s.Watcher, s.User)
	return u, err
}
