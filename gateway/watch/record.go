package watch

import (
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// Record is what of a State must survive a restart: the authorization, which watches there are, and what the sides must still be told or
// taken back. What the presentity's side said is not in it: it is asked again, and until then watchers keep what they have. The names
// are those on the disk.
type Record struct {
	// Authorization is "granted", "asked" or "".
	Authorization string `json:"auth,omitempty"`
	// Since is when it was asked for, or granted.
	Since time.Time `json:"since,omitzero"`
	// Wanted is when the watcher last asked for it, where that is later: what she cancelled before is out of date.
	Wanted time.Time `json:"wanted,omitzero"`
	// AskedAt is when the presentity's user was last asked, AskTaken that her side has the question: it is not put again.
	AskedAt  time.Time `json:"asked,omitzero"`
	AskTaken bool      `json:"taken,omitempty"`
	// Owed is what the watcher's side has not taken of the authorization: "granted", "refused" or "".
	Owed string `json:"owed,omitempty"`
	// Revoking: the presentity's side has not taken that the authorization was given back.
	Revoking bool `json:"revoking,omitempty"`
	// Told: the watches were told a document.
	Told bool `json:"told,omitempty"`
	// Shown are the tuples that the watcher may believe to be open, where she is told of them one by one.
	Shown []string `json:"shown,omitempty"`
	// Sessions are the open watches; fetches are not kept.
	Sessions []RecordSession `json:"sessions,omitempty"`
	// Ending are those that ended, and whose end the watcher's side has not taken.
	Ending []RecordEnding `json:"ending,omitempty"`
}

// RecordSession is one open watch.
type RecordSession struct {
	ID    string    `json:"id,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// RecordEnding is the end of one watch: RecordEnding.End is an adapters.EndReason.
type RecordEnding struct {
	ID  string `json:"id"`
	End uint8  `json:"end"`
	// Shown: the watch was told something, which its last notification takes back.
	Shown bool `json:"shown,omitempty"`
}

// Empty tells that there is nothing to keep.
func (r *Record) Empty() bool {
	return r.Authorization == "" && r.Owed == "" && !r.Revoking && len(r.Shown) == 0 && len(r.Sessions) == 0 && len(r.Ending) == 0
}

const (
	recordGranted = "granted"
	recordAsked   = "asked"
	recordRefused = "refused"
)

// Record returns what of s must survive.
func (s *State) Record() Record {
	r := Record{Revoking: s.revoking, Wanted: s.wantedSince().Round(0)}
	switch s.auth {
	case Granted:
		r.Authorization, r.Since = recordGranted, s.since.Round(0)
	case Asked:
		r.Since = s.since.Round(0)
		r.Authorization, r.AskedAt, r.AskTaken = recordAsked, s.askedAt.Round(0), s.askTaken
	}
	switch s.owed {
	case adapters.AuthorizationGranted:
		r.Owed = recordGranted
	case adapters.AuthorizationRefused:
		r.Owed = recordRefused
	}
	if s.rules.OneByOne {
		for _, list := range [...][]pidf.ID{s.shown, s.gone} {
			for _, id := range list {
				r.Shown = append(r.Shown, id.String())
			}
		}
	} else {
		r.Told = s.toldSome
	}
	for _, w := range s.sessions {
		if !w.Fetch {
			r.Sessions = append(r.Sessions, RecordSession{ID: w.ID, Until: w.Until.Round(0)})
		}
	}
	for _, e := range s.ending {
		r.Ending = append(r.Ending, RecordEnding{ID: e.id, End: uint8(e.end), Shown: e.shown})
	}
	return r
}

// wantedSince is when the watcher last asked for the authorization that there is, in so many words; zero: no later than since, or nobody needs to know.
func (s *State) wantedSince() time.Time {
	if !s.rules.Late || s.auth == None || !s.wanted.After(s.since) {
		return time.Time{}
	}
	return s.wanted
}

// Mark is a number that differs, but for an accident of one in 2^64, when Record does. It costs no memory, so it can be looked at after
// every step.
func (s *State) Mark() uint64 {
	m := mark(14695981039346656037)
	m.add(uint64(s.auth)<<8 | uint64(s.owed))
	m.flag(s.revoking)
	if s.auth != None {
		m.time(s.since)
		m.time(s.wantedSince())
	}
	if s.auth == Asked {
		m.flag(s.askTaken)
		m.time(s.askedAt)
	}
	if s.rules.OneByOne {
		for _, list := range [...][]pidf.ID{s.shown, s.gone} {
			m.add(uint64(len(list)))
			for _, id := range list {
				m.text(id.String())
			}
		}
	} else {
		m.flag(s.toldSome)
	}
	for i := range s.sessions {
		if w := &s.sessions[i]; !w.Fetch {
			m.text(w.ID)
			m.time(w.Until)
		}
	}
	for i := range s.ending {
		m.text(s.ending[i].id)
		m.add(uint64(s.ending[i].end) + 1)
	}
	return uint64(m)
}

// mark is FNV-1a over words.
type mark uint64

func (m *mark) add(v uint64) {
	for range 8 {
		*m = (*m ^ mark(v&0xff)) * 1099511628211
		v >>= 8
	}
}

func (m *mark) flag(b bool) {
	if b {
		m.add(1)
	} else {
		m.add(0)
	}
}

func (m *mark) text(s string) {
	m.add(uint64(len(s)))
	for i := range len(s) {
		*m = (*m ^ mark(s[i])) * 1099511628211
	}
}

func (m *mark) time(t time.Time) {
	if t.IsZero() {
		m.add(0)
		return
	}
	m.add(uint64(t.UnixNano()))
}

// Restore returns the state of a pair of which r was kept. After wait, which spreads many over time, the presentity's side is asked again for
// what is watched, and what was not taken is said again; before, a Tick is due. Nobody is asked for an authorization that was granted.
// What cannot be, in r, is left out.
func Restore(watcher, presentity cpim.Address, rules *Rules, r *Record, now time.Time, wait time.Duration) *State {
	s := New(watcher, presentity, rules)
	at := now.Add(wait)
	for _, w := range r.Sessions {
		if len(s.sessions) < rules.Sessions && s.session(w.ID) < 0 {
			until := w.Until
			if !until.IsZero() {
				until = now.Add(until.Sub(now)) // from here on by the time that passes, whatever the clock is set to
			}
			s.sessions = append(s.sessions, Session{ID: w.ID, Until: until})
		}
	}
	switch {
	case r.Authorization == recordGranted:
		s.auth, s.since = Granted, r.Since
	case r.Authorization == recordAsked && len(s.sessions) > 0:
		s.since = r.Since
		s.auth, s.askedAt, s.askTaken = Asked, r.AskedAt, r.AskTaken
	default:
		s.sessions = nil
	}
	if s.auth != None {
		s.wanted = r.Wanted
	}
	switch {
	case r.Owed == recordGranted && s.auth == Granted:
		s.owed = adapters.AuthorizationGranted
	case r.Owed == recordRefused && s.auth == None:
		s.owed = adapters.AuthorizationRefused
	}
	s.revoking = r.Revoking && s.auth == None && rules.AsksExplicitly
	for _, text := range r.Shown {
		if id, err := pidf.ParseID(text); err == nil && rules.OneByOne && len(s.shown) < maxGone {
			s.shown = append(s.shown, id)
		}
	}
	if len(s.sessions) == 0 || s.auth != Granted {
		s.gone, s.shown = s.shown, nil
	}
	if s.toldSome = r.Told && len(s.sessions) > 0 && s.auth == Granted; s.toldSome {
		s.telling = 1 // by the process before this one
		for i := range s.sessions {
			s.sessions[i].told = s.telling
		}
	}
	for _, e := range r.Ending {
		if end := adapters.EndReason(e.End); end <= adapters.EndInvariant && e.ID != "" && len(s.ending) < rules.Sessions {
			s.ending = append(s.ending, ending{id: e.ID, end: end, shown: e.Shown})
		}
	}
	if s.indebted() {
		s.debtAt, s.debtSince = at, now
	}
	if len(s.sessions) == 0 {
		return s
	}
	if s.auth == Asked && rules.AsksExplicitly && s.askTaken {
		// Who decided while nobody could be told says it when she is asked again; her server shows no second request (RFC 6121 §A.3.1).
		s.upstream, s.askedAt = Open, at.Add(-rules.AskAgain)
		return s
	}
	s.restored, s.retryAt = true, at
	if s.toldSome && !rules.OneByOne {
		s.shown = []pidf.ID{pidf.TupleID("")} // something, which what comes replaces
	}
	if len(s.shown) > 0 {
		s.doubtAt = at.Add(rules.Doubt)
	}
	return s
}
