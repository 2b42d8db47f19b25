package load

import (
	"strings"
	"testing"
	"time"
)

// T-OV-02, "RSS <= configured cap", in a process: a gateway whose XMPP server does not read is full of messages after a while. It refuses what comes then (503),
// stays under limits.memory, and takes everything again when its messages could leave; what it had taken arrives.
func TestT_OV_02_MemoryUnderItsCap(t *testing.T) {
	const memory = 160 << 20
	report, err := Full(t.Context(), FullConfig{
		Config: Config{Binary: build(t), Directory: t.TempDir(), Procs: 1, Memory: memory, Time: 5 * time.Second, Log: t.Output()},
		Rate:   400, Body: 20_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	report.Print(&text)
	t.Log(text.String())
	// The runtime's limit is a soft one, and the system gives memory in large pages.
	if report.Anonymous > memory+memory/20 || report.Anonymous < memory/2 {
		t.Errorf("%d MiB resident without files, and %d MiB is the cap", report.Anonymous>>20, int64(memory)>>20)
	}
	if report.Refused == 0 || report.Held == 0 || report.Lost > 0 {
		t.Errorf("%d were refused, %d held, %d lost", report.Refused, report.Held, report.Lost)
	}
}
