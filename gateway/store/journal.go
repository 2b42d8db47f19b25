package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ID names an entry. IDs sort by the order of acceptance on one node; a node that has replayed an entry makes IDs behind its.
type ID string

// Parts is into how many parts the entries of a journal are divided. On a cluster each part has one owner, who replays it.
const Parts = 64

// Kind is what an entry is.
type Kind uint8

// The kinds.
const (
	KindMessage Kind = iota + 1 // a message on its way to its recipient
	KindNotice                  // a report on its way to the sender of a message
	KindOutcome                 // a late outcome as it came, on its way to the owner of its message's part
)

// Entry is what was accepted. It never changes.
type Entry struct {
	ID   ID
	Kind Kind
	// Part is the part of the journal that the entry belongs to, 0 to Parts-1. What has the same Order belongs to the same part.
	Part int
	// Order names what must stay in order: entries with the same Order are delivered in the order of their IDs.
	Order string
	// Accepted is when the gateway answered for it, Expires the end of its life.
	Accepted, Expires time.Time
	// Octets are the operation, encoded by package gateway.
	Octets []byte
}

// Trying tells of an attempt that was begun.
type Trying uint8

// The values of Trying.
const (
	TryingNot   Trying = iota
	TryingAmong        // others may have been tried at the same time
	TryingAlone        // no other one was
)

// Progress is what became of an entry so far.
type Progress struct {
	// Attempts have been begun; Next is when the next one is due.
	Attempts int
	Next     time.Time
	// Delayed tells that the sender has been told that it takes long.
	Delayed bool
	// Crashes is how many attempts in a row ended in a panic, or with the end of the process while nothing else of the journal was tried.
	Crashes int
	// Trying tells that an attempt was begun and, where a process reads it at its start, never ended: the one before died in it.
	Trying Trying
	// Dead says why the entry is a dead letter since when, "" while it is alive. A dead letter is kept until an operator drops it, or its
	// time in the journal ends.
	Dead  string
	Since time.Time
	// Until is the end of the entry's life where an operator has given it another one; zero: Entry.Expires.
	Until time.Time
}

// Errors of a Journal and of Facts; test with errors.Is.
var (
	// ErrFull says that the journal has no room, or its disk has none: nothing was taken.
	ErrFull = errors.New("store: full")
	// ErrUnavailable says that the store cannot take anything now: a disk that fails, a cluster without a quorum. Nothing was taken, as
	// far as is known.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrUnknown is an ErrUnavailable where the store had no time to answer: something may have been taken. An entry that Append failed for in
	// this way is forgotten as soon as the store can.
	ErrUnknown = fmt.Errorf("%w: the outcome is not known", ErrUnavailable)
	// ErrNotFound says that there is no such entry or fact.
	ErrNotFound = errors.New("store: not found")
	// ErrExists says that a fact is there already, or has changed since it was read.
	ErrExists = errors.New("store: exists")
)

// Journal holds entries until they are removed. Safe for use from many goroutines: calls that come together are synced together.
type Journal interface {
	// NewID makes the ID of an entry that is accepted now.
	NewID() ID
	// Append adds entries, all or none. When it returns nil they survive a crash of the machine.
	Append(ctx context.Context, entries ...Entry) error
	// Mark writes what became of an entry. When it returns nil it survives a crash.
	Mark(ctx context.Context, id ID, p Progress) error
	// Exchange forgets an entry that has come to its end and adds the one that tells of it, e, in its room: after a crash one of them is there,
	// or both when it failed. e may have the ID of the old one if its Part is another: the entry is moved there.
	Exchange(ctx context.Context, old ID, e Entry) error
	// Remove forgets entries that have come to their end. When it returns nil none of them is there again after a crash.
	Remove(ctx context.Context, ids ...ID) error
	// Replay calls f for each entry of some parts (nil: of all) with its progress, until f fails. Who needs an order sorts by ID. An entry
	// that cannot be read is passed to corrupt and kept: nothing is ever deleted because it cannot be read. What this node appends comes
	// behind everything that it has replayed, whatever the clocks say.
	Replay(ctx context.Context, parts []int, f func(Entry, Progress) error, corrupt func(ID, error)) error
	// Release forgets what this node counts of parts that another node owns from now on. It writes nothing.
	Release(parts ...int)
	// Read returns one entry, of whatever part.
	Read(ctx context.Context, id ID) (Entry, Progress, error)
	// Usage is how much of the journal's room is taken. On a cluster a node counts what it has replayed and appended and not released.
	Usage() Usage
}

// Usage is how much of a journal's room is taken, and how much there is.
type Usage struct {
	Entries, MaxEntries int
	Octets, MaxOctets   int64
}
