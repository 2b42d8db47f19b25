package faults_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/faults"
)

// T-FI-01: a short run of the fault runner, with a gateway that also ends itself at its named points. `isthmus faults --rounds N` plays more.
func TestT_FI_01_NothingIsLostAtAnyFault(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "isthmus")
	if out, err := exec.Command("go", "build", "-tags", "failpoints", "-o", binary, "github.com/isthmus-gateway/isthmus/cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "isthmus-faults-test-")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := faults.Run(t.Context(), faults.Config{Binary: binary, Failpoints: true, Rounds: 12, Workers: 12, Seed: 42, Ready: time.Minute, Directory: dir, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	sum.Print(t.Output())
	// The machine of CI has other work: 12 gateways start at once, so that their starts may take longer than alone.
	if sum.Total.Violations > 0 || sum.Total.Acknowledged == 0 || sum.Total.Delivered == 0 || sum.Total.Crashes == 0 {
		t.Errorf("%+v; logs and stores are in %s", sum.Total, dir)
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// T-FI-01, T-PR-10: a short run of the rounds of presence. `isthmus faults --presence --rounds N` plays more.
func TestT_FI_01_PresenceIsTrueAfterAnyFault(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "isthmus")
	if out, err := exec.Command("go", "build", "-tags", "failpoints", "-o", binary, "github.com/isthmus-gateway/isthmus/cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "isthmus-faults-test-")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := faults.Run(t.Context(), faults.Config{
		Binary: binary, Failpoints: true, Presence: true, Rounds: 6, Workers: 6, Seed: 42, Ready: 2 * time.Minute, Directory: dir, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	sum.Print(t.Output())
	if sum.Total.Violations > 0 || sum.Total.Acknowledged == 0 || sum.Total.Delivered == 0 || sum.Total.Notified == 0 || sum.Total.Crashes == 0 {
		t.Errorf("%+v; logs and stores are in %s", sum.Total, dir)
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// A gateway that is killed with messages queued accepts others when it is back, and delivers all (I8). `isthmus faults --backlog 100000 --rounds 3` is
// the measurement: here the machine has other work.
func TestT_FI_01_ABacklogIsTakenUp(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "isthmus")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/isthmus-gateway/isthmus/cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sum, err := faults.Backlog(t.Context(), faults.Config{Binary: binary, Rounds: 2, Ready: time.Minute, Directory: t.TempDir()}, 2000)
	if err != nil {
		t.Fatal(err)
	}
	sum.Print(t.Output())
	if len(sum.Violations) > 0 || len(sum.Restarts) != 2 || sum.Delivered < 2000*99/100 {
		t.Errorf("%+v", sum)
	}
}

// T-FI-02: a machine that is ended at any time has what the gateway acknowledged, and the rounds find it when it has not.
// `isthmus faults --os-crash --rounds N` plays more.
func TestT_FI_02_NothingIsLostWhenTheMachineEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines")
	}
	binary := filepath.Join(t.TempDir(), "isthmus")
	build := exec.Command("go", "build", "-tags", "failpoints", "-o", binary, "github.com/isthmus-gateway/isthmus/cmd/isthmus")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(t *testing.T, unsynced bool) faults.Summary {
		dir, err := os.MkdirTemp("", "isthmus-faults-test-")
		if err != nil {
			t.Fatal(err)
		}
		sum, err := faults.Run(t.Context(), faults.Config{Binary: binary, OSCrash: true, Unsynced: unsynced, Rounds: 1, Workers: 1, Seed: 3, Directory: dir, Log: t.Output()})
		switch {
		case errors.Is(err, faults.ErrNoMachine) && os.Getenv("CI") == "":
			t.Skip(err)
		case err != nil:
			t.Fatal(err)
		}
		sum.Print(t.Output())
		if (sum.Total.Violations > 0) == unsynced {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
			return sum
		}
		t.Logf("consoles and disks are in %s", dir)
		return sum
	}
	t.Run("synced", func(t *testing.T) {
		if sum := run(t, false); sum.Total.Violations > 0 || sum.Total.Acknowledged == 0 || sum.Total.Delivered == 0 {
			t.Errorf("%+v", sum.Total)
		}
	})
	t.Run("not synced", func(t *testing.T) {
		if sum := run(t, true); sum.Total.Violations == 0 {
			t.Errorf("nothing is lost by a store that does not sync: the rounds find nothing: %+v", sum.Total)
		}
	})
}
