package gateway

import (
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/adapters"
	"github.com/isthmus-gateway/isthmus/gateway/store/storetest"
)

// BenchmarkToken is the identifier with a sealed token that a message gets where there is a store.
func BenchmarkToken(b *testing.B) {
	t, err := openTokens(b.Context(), &storetest.Memory{}, false)
	if err != nil {
		b.Fatal(err)
	}
	from, to := &side{name: "sip"}, &side{name: "xmpp", index: 1}
	op := originOp(1, "")
	op.Thread, op.Content = "9E97FB43-85F4-4A00-8751-1124FD4C7B2E", adapters.Content{Octets: []byte("Neither, fair saint, if either thee dislike.")}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if t.make(now, from, to, op, "z9hG4bK776sgdkse") == "" {
			b.Fatal("none")
		}
	}
}

// BenchmarkCopyRecord is what copies of a message are known by over restarts.
func BenchmarkCopyRecord(b *testing.B) {
	from, op := &side{name: "sip"}, originOp(1, "")
	op.Copy, op.Content = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@a.example\n49583\n1", adapters.Content{Type: "text/plain", Octets: []byte("Neither, fair saint, if either thee dislike.")}
	b.ReportAllocs()
	for b.Loop() {
		if copyRecord(recollectAccepted, from, op) == (recollected{}) {
			b.Fatal("none")
		}
	}
}
