package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/faults"
)

// T-FI-01, in a cluster of three: SIP traffic to all of them, and the one that has the XMPP link is killed. Another one has the link and the queue
// within 15 s, and nothing that was acknowledged is lost. `isthmus faults --nodes 3 --rounds N` plays more.
func TestT_FI_01_KilledGatewayIsTakenOver(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "isthmus")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/isthmus-gateway/isthmus/cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "isthmus-cluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := faults.Run(t.Context(), faults.Config{
		Binary: binary, Nodes: 3, Kinds: []string{"kill owner and xmpp down"}, Rounds: 1, Workers: 1, Seed: 42, Directory: dir, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	sum.Print(t.Output())
	if sum.Total.Violations > 0 || sum.Total.Acknowledged == 0 || sum.Total.Delivered == 0 || sum.Total.Takeovers != 1 {
		t.Errorf("%+v; logs and stores are in %s", sum.Total, dir)
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// T-PR-11, in a cluster of three: users of both sides watch each other by way of all three, and the one that has the XMPP link is killed. "a killed node's watches are
// taken over within 15 s, and no NOTIFY is sent twice": each SIP dialog is heard of from another gateway, its numbers go on, and in the end each user shows what the other
// said last. `isthmus faults --presence --nodes 3 --rounds N` plays more.
func TestT_PR_11_WatchesOfAKilledGatewayAreTakenOver(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "isthmus")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/isthmus-gateway/isthmus/cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "isthmus-cluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := faults.Run(t.Context(), faults.Config{
		Binary: binary, Presence: true, Nodes: 3, Kinds: []string{"kill owner"}, Rounds: 1, Workers: 1, Seed: 11, Directory: dir, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	sum.Print(t.Output())
	if sum.Total.Violations > 0 || sum.Total.Delivered == 0 || sum.Total.Notified == 0 || sum.Total.Takeovers != 1 {
		t.Errorf("%+v; logs and stores are in %s", sum.Total, dir)
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
