package heapfloor

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// advised is how many octets of this process the system was asked to have in huge pages ("hg" in proc_pid_smaps(5)).
func advised(t *testing.T) (octets int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		switch {
		case len(fields) == 3 && fields[0] == "Size:":
			if size, err = strconv.Atoi(fields[1]); err != nil {
				t.Fatal(err)
			}
		case len(fields) > 0 && fields[0] == "VmFlags:":
			for _, flag := range fields[1:] {
				if flag == "hg" {
					octets += size << 10
				}
			}
		}
	}
	return octets
}

func TestInHugePages(t *testing.T) {
	const octets = 64 << 20
	inHugePages(octets)
	got := advised(t) // with what another test has asked for
	want := octets
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		want = 0 // a kernel without them
	}
	if got < want {
		t.Errorf("%d octets, should be %d at least", got, want)
	}
}
