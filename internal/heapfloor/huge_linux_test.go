package heapfloor

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
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
	inHugePages(octets, false)
	got := advised(t) // with what another test has asked for
	want := octets
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		want = 0 // a kernel without them
	}
	if got < want {
		t.Errorf("%d octets, should be %d at least", got, want)
	}
}

// With touch the memory is there before anybody uses it, and else it is not.
func TestPrepare(t *testing.T) {
	const octets = 16 << 20
	for _, touch := range []bool{false, true} {
		room, err := unix.Mmap(-1, 0, octets, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			t.Fatal(err)
		}
		prepare(room, touch)
		want := 0
		if touch && unix.Madvise(room[:os.Getpagesize()], unix.MADV_POPULATE_WRITE) == nil { // a kernel that knows it
			want = octets
		}
		pages := make([]byte, octets/os.Getpagesize())
		if _, _, fault := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&room[0])), octets, uintptr(unsafe.Pointer(&pages[0]))); fault != 0 {
			t.Fatal(fault)
		}
		there := 0
		for _, p := range pages {
			there += int(p&1) * os.Getpagesize()
		}
		if there != want {
			t.Errorf("touch %v: %d octets are there, should be %d", touch, there, want)
		}
		if err := unix.Munmap(room); err != nil {
			t.Fatal(err)
		}
	}
}
