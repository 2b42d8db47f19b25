package transaction

import "sync"

// maxPooled is the largest buffer that goes back to the pool, in octets: one long message must not be kept for ever.
const maxPooled = 16 << 10

// buffers holds scratch space for messages that are written. A sync.Pool is a cache, not state.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 2048)
	return &b
}}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		buffers.Put(b)
	}
}
