package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/integration/faults"
)

// T-FI-22: SIGTERM under load, a second SIGTERM, SIGHUP with a broken configuration and with changed ones, all under load: nothing is lost,
// nothing comes twice, and no reload has anything to do with any answer or any connection.
func TestT_FI_22_Signals(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "isthmus")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/isthmus-gateway/isthmus/cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, kind := range []string{"term", "term twice", "reload broken", "reload changed"} {
		t.Run(kind, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "isthmus-faults-test-")
			if err != nil {
				t.Fatal(err)
			}
			sum, err := faults.Run(t.Context(), faults.Config{Binary: binary, Kinds: []string{kind}, Rounds: 2, Workers: 2, Seed: 22, Ready: 30 * time.Second, Directory: dir, Log: t.Output()})
			if err != nil {
				t.Fatal(err)
			}
			sum.Print(t.Output())
			if sum.Total.Violations > 0 || sum.Total.Acknowledged == 0 || sum.Total.Delivered == 0 || kind != "term twice" && sum.Total.Copies > 0 {
				t.Errorf("%+v; logs and stores are in %s", sum.Total, dir)
				return
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
	}
}
