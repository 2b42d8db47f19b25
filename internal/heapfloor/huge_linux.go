package heapfloor

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a huge page of most processors, in octets. Where it is another one nothing is lost.
const hugePage = 2 << 20

// inHugePages has the heap grow by so many octets, asks the system to have them in huge pages, and gives them back to be allocated from. A heap of
// 128 MiB in pages of 4 KiB is far more than a processor knows the places of: nearly each look at what was not used just now would be two, and many
// more in a virtual machine. Where the system refuses, it stays as it was.
//
// With touch the system gives the pages at once, and not when each is used first, which is when the first load comes: to clear 2 MiB takes it 50 µs,
// and in a virtual machine whose host has to find them first some milliseconds, in which everything waits.
func inHugePages(octets uint64, touch bool) {
	room := make([]byte, octets+hugePage)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(room))) % hugePage
	prepare(room[skip:][:octets], touch)
	runtime.KeepAlive(room)
}

// prepare asks the system for room as inHugePages says.
func prepare(room []byte, touch bool) {
	unix.Madvise(room, unix.MADV_HUGEPAGE) //nolint:errcheck // it is advice
	if touch {
		unix.Madvise(room, unix.MADV_POPULATE_WRITE) //nolint:errcheck // a kernel before 5.14 gives them later
	}
}
