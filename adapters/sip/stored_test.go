package sip

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// storedExamples are one record of each kind, by its kind.
func storedExamples(tb testing.TB) map[string][]byte {
	tb.Helper()
	d := romeoWatchesJuliet()
	d.RouteSet = []string{"<sip:p1.example.net;lr>", "<sip:p2.example.net;lr>"}
	d.Peer, d.Source, d.Transport, d.Partial, d.PartialVersion = "trunk", "192.0.2.7:5060", "udp", true, 7
	d.RemoteCSeq, d.HasRemoteCSeq = 41, true
	doc, err := pidf.Parse([]byte(documentText("romeo@example.net", "open")))
	if err != nil {
		tb.Fatal(err)
	}
	records := map[string][]byte{}
	keep := func(kind string, b []byte, err error) {
		if err != nil {
			tb.Fatal(err)
		}
		records[kind] = b
	}
	b, err := appendDialog(d)
	keep(storedNotifier, b, err)
	b, err = appendUploaded(&uploaded{presentity: pres("romeo@example.net"), etag: "dx200xyz", until: now, made: now, doc: doc})
	keep(storedUploaded, b, err)
	b, err = appendUpload(&upload{watch: adapters.WatchID{Watcher: pres("presence@example.net"), Presentity: pres("juliet@example.com"), Session: "xyz"}, etag: "q", until: now})
	keep(storedPublishing, b, err)
	return records
}

func TestStoredDialogComesBack(t *testing.T) {
	d := romeoWatchesJuliet()
	d.Sealing = Sealing{Signed: true, CMS: true}
	d.RouteSet, d.Granted, d.Confirmed, d.Connection = []string{"<sip:p1.example.net;lr>"}, true, true, 7
	b, err := appendDialog(d)
	if err != nil {
		t.Fatal(err)
	}
	back, err := parseDialog(b)
	if err != nil {
		t.Fatal(err)
	}
	// A connection does not outlive its process, and a record has milliseconds.
	d.Connection, d.Expires = 0, storedTime(d.Expires)
	if !reflect.DeepEqual(*d, back) {
		t.Errorf("got  %+v\nwant %+v", back, *d)
	}
}

func TestStoredRecordsRefused(t *testing.T) {
	records := storedExamples(t)
	dialog, publication, publishing := string(records[storedNotifier]), string(records[storedUploaded]), string(records[storedPublishing])
	read := map[string]func([]byte) error{
		dialog:      func(b []byte) error { _, err := parseDialog(b); return err },
		publication: func(b []byte) error { _, err := parseUploaded(b); return err },
		publishing:  func(b []byte) error { _, err := parseUpload(b); return err },
	}
	for _, c := range []struct {
		name, of, old, new string
	}{
		{"no tag", dialog, `"ltag":"ur93"`, `"ltag":""`},
		{"no role", dialog, `"role":1`, `"role":9`},
		{"a target that is no URI", dialog, `"target":"sip:romeo@192.0.2.7"`, `"target":"sip:\r\nVia: x"`},
		{"a tag that would end its line", dialog, `"ltag":"ur93"`, `"ltag":"ur93\r\nVia: x"`},
		{"a route that would end its line", dialog, `p1.example.net;lr`, `p1.example.net;lr\r\nVia: x`},
		{"an event that would end its line", dialog, `"event":"presence"`, `"event":"presence\r\nVia: x"`},
		{"a sequence number out of range", dialog, `"lseq":1`, `"lseq":2147483648`},
		{"a watcher of no kind", dialog, `"watcher":"pres:`, `"watcher":"http:`},
		{"a watcher to write to", dialog, `"watcher":"pres:`, `"watcher":"im:`},
		{"a state there is not", dialog, `"state":1`, `"state":77`},
		{"no entity-tag", publication, `"etag":"dx200xyz"`, `"etag":""`},
		{"a document about somebody else", publication, `"presentity":"pres:romeo`, `"presentity":"pres:tybalt`},
		{"no document", publication, `presence`, `presense`},
		{"no session", publishing, `"session":"xyz"`, `"session":""`},
		{"an entity-tag that would end its line", publishing, `"etag":"q"`, `"etag":"q\r\nVia: x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(c.of, c.old) {
				t.Fatalf("there is no %s in %s", c.old, c.of)
			}
			if err := read[c.of]([]byte(c.of)); err != nil {
				t.Fatalf("as it was: %v", err)
			}
			if err := read[c.of]([]byte(strings.Replace(c.of, c.old, c.new, 1))); err == nil {
				t.Error("taken")
			}
		})
	}
	for of, f := range read {
		if err := f([]byte(strings.Replace(of, `"v":1`, `"v":2`, 1))); !errors.Is(err, errStoredVersion) {
			t.Errorf("another version: %v", err)
		}
		if err := f(append([]byte(of), bytes.Repeat([]byte{' '}, maxStored)...)); !errors.Is(err, errStoredSize) {
			t.Errorf("too large: %v", err)
		}
	}
}

// "Requests within a dialog MUST contain strictly monotonically increasing and contiguous CSeq sequence numbers" (RFC 3261 §12.2.1.1): what is
// read back begins behind all that may have been used.
func TestReserved(t *testing.T) {
	d := romeoWatchesJuliet()
	d.Partial, d.PartialVersion = true, 5
	r := d.reserved()
	if r.LocalCSeq != d.LocalCSeq+reserve || r.PartialVersion != 5+reserve || d.LocalCSeq != 1 {
		t.Errorf("%d, %d", r.LocalCSeq, r.PartialVersion)
	}
	writes := 0
	for used, bound := d.LocalCSeq, r.LocalCSeq; used < 10_000; used++ {
		if runsOut(used, bound) {
			bound = used + reserve
			writes++
		}
		if used >= bound {
			t.Fatalf("%d was not reserved", used)
		}
	}
	if writes > 10_000*2/reserve {
		t.Errorf("%d writes for 10,000 requests", writes)
	}
	d.LocalCSeq, d.PartialVersion = maxCSeq-2, math.MaxUint32-1
	if r := d.reserved(); r.LocalCSeq != maxCSeq-1 || r.PartialVersion != math.MaxUint32 {
		t.Errorf("%d, %d at the end of the numbers", r.LocalCSeq, r.PartialVersion)
	}
}

// FuzzStored: what is read prints, and reads to the same; and from a dialog that is read a request can be made or is refused, never one with
// a line of the record's own.
func FuzzStored(f *testing.F) {
	for kind, b := range storedExamples(f) {
		f.Add(kind, b)
	}
	f.Add(storedSubscriber, []byte(`{"v":1,"role":2}`))
	f.Fuzz(func(t *testing.T, kind string, b []byte) {
		var again []byte
		var err error
		switch kind {
		case storedNotifier, storedSubscriber:
			d, bad := parseDialog(b)
			if bad != nil {
				return
			}
			again, err = appendDialog(&d)
			if back, bad := parseDialog(again); bad != nil || !reflect.DeepEqual(d, back) {
				t.Errorf("%v: %+v is not %+v", bad, back, d)
			}
			if req, bad := writeNotify(&d, watchState{state: adapters.WatchActive, expires: time.Minute}, nil); bad == nil {
				parsed(t, req)
			}
		case storedUploaded:
			u, bad := parseUploaded(b)
			if bad != nil {
				return
			}
			again, err = appendUploaded(&u)
			if back, bad := parseUploaded(again); bad != nil || !back.doc.Equal(u.doc) || back.etag != u.etag || !back.until.Equal(u.until) || !back.made.Equal(u.made) {
				t.Errorf("%v: %+v is not %+v", bad, back, u)
			}
		case storedPublishing:
			u, bad := parseUpload(b)
			if bad != nil {
				return
			}
			again, err = appendUpload(&u)
			if back, bad := parseUpload(again); bad != nil || back != u {
				t.Errorf("%v: %+v is not %+v", bad, back, u)
			}
		}
		if err != nil {
			t.Errorf("%s was read and cannot be written: %v", b, err)
		}
	})
}

func BenchmarkStoredDialog(b *testing.B) {
	record := storedExamples(b)[storedNotifier]
	d, err := parseDialog(record)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(record)))
		for b.Loop() {
			if _, err := appendDialog(&d); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(record)))
		for b.Loop() {
			if _, err := parseDialog(record); err != nil {
				b.Fatal(err)
			}
		}
	})
}
