package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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
	sum, err := faults.Run(t.Context(), faults.Config{Binary: binary, Failpoints: true, Rounds: 12, Workers: 4, Seed: 42, Directory: dir, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	sum.Print(t.Output())
	if sum.Total.Violations > 0 || sum.Total.Acknowledged == 0 || sum.Total.Delivered == 0 || sum.Total.Crashes == 0 {
		t.Errorf("%+v; logs and stores are in %s", sum.Total, dir)
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
