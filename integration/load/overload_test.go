package load

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// T-OV-02, of which only what holds on any machine: while more comes than the gateway can do, nothing that it has accepted is lost or delivered twice, no answer has
// Retry-After, the memory stays under the cap, and when the load drops everything is taken again.
func TestT_OV_02_Overload(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "isthmus")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const memory = 512 << 20
	b, err := newBed(Config{Binary: binary, Directory: dir, Procs: 1, Memory: memory, Quiet: true}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	v, err := b.play([]float64{60_000, 2000}, time.Second, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c := v.sum()
	t.Logf("offered %d, taken %d, refused %d, sent again %d", c.Offered, c.Taken, c.Refused, c.Again)
	if c.Offered == 0 || c.Taken == 0 || c.RetryAfter > 0 || c.Twice > 0 || c.OtherAnswers > 0 {
		t.Errorf("offered %d, taken %d, with Retry-After %d, delivered twice %d, answered otherwise %v", c.Offered, c.Taken, c.RetryAfter, c.Twice, c.Codes)
	}
	if v.rss > memory {
		t.Errorf("%d MiB resident", v.rss>>20)
	}
	for _, a := range b.agents {
		a.Rate(0)
	}
	end := time.Now().Add(90 * time.Second)
	for again := false; !again; {
		for _, a := range b.agents {
			a.Anew()
		}
		if v, err = b.play([]float64{0, 200}, 0, time.Second); err != nil {
			t.Fatal(err)
		}
		c = v.sum()
		if again = c.Refused == 0 && c.Taken*10 >= c.Offered*9; !again && time.Now().After(end) {
			t.Fatalf("90 s after the load: of %d messages %d were taken and %d refused", c.Offered, c.Taken, c.Refused)
		}
	}
	for _, a := range b.agents {
		a.Rate(0)
	}
	if lost := b.missing(end.Add(30 * time.Second)); lost > 0 {
		t.Errorf("%d accepted messages have not arrived", lost)
	}
}

// "A false refusal is worse than a slow answer": a gateway that shares its processor with four others who want all of it refuses none of a few hundred messages a
// second.
func TestStarvedGatewayRefusesNobody(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "isthmus")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/isthmus").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := newBed(Config{Binary: binary, Directory: dir, Procs: 1, Quiet: true}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	for range 4 {

		c := exec.Command("sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer c.Wait()         //nolint:errcheck // it was killed
		defer c.Process.Kill() //nolint:errcheck // it ends with the test
		if err := beside(c.Process.Pid, 1); err != nil {
			t.Fatal(err)
		}
	}
	v, err := b.play([]float64{400}, 0, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if c := v.sum(); c.Offered == 0 || c.Refused > 0 {
		t.Errorf("of %d messages %d were refused", c.Offered, c.Refused)
	}
}
