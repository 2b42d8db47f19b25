package heapfloor

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a huge page of most processors, in octets. Where it is another one nothing is lost.
const hugePage = 2 << 20

// inHugePages has the heap grow by so many octets, asks the system to have them in huge pages, and gives them back to be allocated from. Nothing
// of it takes memory before it is used. A heap of 128 MiB in pages of 4 KiB is far more than a processor knows the places of: nearly each look
// at what was not used just now would be two, and many more in a virtual machine. Where the system refuses, it stays as it was.
func inHugePages(octets uint64) {
	room := make([]byte, octets+hugePage)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(room))) % hugePage
	unix.Madvise(room[skip:][:octets], unix.MADV_HUGEPAGE) //nolint:errcheck // it is advice
	runtime.KeepAlive(room)
}
