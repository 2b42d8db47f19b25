package gateway

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/cpim"
	"github.com/isthmus-gateway/isthmus/pidf"
)

// TestCarriedNotify: what one gateway of a cluster hands to another comes out of it as it was, octet for octet.
func TestCarriedNotify(t *testing.T) {
	op := &adapters.NotifyOp{
		ID: "i", Peer: adapters.Peer{Adapter: "sip", Name: "trunk"}, Whole: true, State: adapters.WatchActive, Instance: "x", Language: "cs",
		Watch:  adapters.WatchID{Watcher: cpim.MustParseAddress("pres:juliet@example.com"), Presentity: cpim.MustParseAddress("pres:romeo@example.net"), Session: "s"},
		Sealed: &adapters.Content{Type: "application/pkcs7-mime", Octets: []byte("\x30\x00\xff\r\n<")},
		Presence: &pidf.Presence{
			Entity: pidf.MustParseURI("pres:romeo@example.net"), Tuples: []pidf.Tuple{{ID: pidf.TupleID("a"), Status: pidf.Status{Basic: pidf.BasicOpen}}},
		},
	}
	octets, err := carryNotify(&side{name: "sip"}, op, false, false)
	if err != nil {
		t.Fatal(err)
	}
	var c call
	if err := json.Unmarshal(octets, &c); err != nil {
		t.Fatal(err)
	}
	back, err := c.Notify.operation()
	if err != nil {
		t.Fatal(err)
	}
	if !back.Presence.Equal(op.Presence) {
		t.Errorf("%+v", back.Presence)
	}
	back.Presence = op.Presence
	if !reflect.DeepEqual(back, op) {
		t.Errorf("%+v\nwas %+v", back, op)
	}
	// That its watcher may be gone is all that is told of one who leaves.
	if octets, err = carryNotify(&side{name: "sip"}, op, false, true); err != nil {
		t.Fatal(err)
	}
	c = call{}
	if err := json.Unmarshal(octets, &c); err != nil || c.Notify.Presence != "" || c.Notify.Sealed != nil {
		t.Errorf("%s, %v", octets, err)
	}
}
