package transaction

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"

	"github.com/isthmus-gateway/isthmus/internal/admission"
)

const (
	// maxSifted is of how many addresses the kernel drops requests. Those of others are read, and dropped then.
	maxSifted = 64
	// sieveLife is for how long the kernel drops without being told so again.
	sieveLife = 500 * time.Millisecond
)

// sieve has the kernel drop datagrams of a socket that would be ignored (admission.Ignore) when they were read: a refusal costs a tenth of a message, and what
// is read for nothing a fortieth, which is still too much where ten times as much comes as can be done. Each address that was refused something is in a filter of
// the socket with its flow's share; a request's lot decides, so that a copy has no better luck than the request had.
type sieve struct {
	socket *udpSocket
	at     uint64 // admission.Controller.Turn of the filter
	loud   map[netip.Addr]*admission.Flow
	broken bool

	mu    sync.Mutex
	set   bool
	ended bool
	timer *time.Timer // takes the filter away when the reader does not come back, because nothing comes
}

func newSieve(s *udpSocket) *sieve { return &sieve{socket: s, loud: map[netip.Addr]*admission.Flow{}} }

// note remembers who was refused something. It is called by the socket's reader, as turn is.
func (v *sieve) note(from netip.Addr, f *admission.Flow) {
	if len(v.loud) < maxSifted {
		v.loud[from] = f
	}
}

// turn follows the shares.
func (v *sieve) turn() {
	if len(v.loud) == 0 || v.broken {
		return
	}
	turn := v.socket.layer.cfg.Admission.Turn()
	if turn == v.at {
		return
	}
	v.at = turn
	some := false
	bounds := make(map[netip.Addr]uint32, len(v.loud))
	for a, f := range v.loud {
		if pass := f.Pass(); pass != (*admission.Flow)(nil).Pass() {
			bounds[a], some = pass, true
		}
	}
	if !v.socket.layer.cfg.Admission.Active() {
		clear(v.loud)
	}
	if err := v.replace(bounds, some); err != nil {
		v.broken = true // not Linux, or the system does not let us: everything is read
		v.socket.layer.log.Warn().Err(err).Stringer("listener", v.socket.local).Msg("sip udp listener without a filter: what comes over its share is read, and dropped then")
	}
}

// replace gives the socket another filter.
func (v *sieve) replace(bounds map[netip.Addr]uint32, some bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended || !some && !v.set {
		return nil
	}
	program := []bpf.Instruction{bpf.RetConstant{Val: everything}}
	if some {
		program = v.program(bounds)
	}
	raw, err := bpf.Assemble(program)
	if err == nil {
		if some {
			v.gather(false) // of those that come as one the filter would look at the first alone
		}
		err = ipv4.NewPacketConn(v.socket.pc).SetBPF(raw)
	}
	if !some || err != nil {
		v.gather(true)
	}
	if err != nil {
		return err
	}
	if v.set = some; !some {
		return nil
	}
	if v.timer == nil {
		v.timer = time.AfterFunc(sieveLife, func() { v.replace(nil, false) }) //nolint:errcheck // the socket may be closed
	} else {
		v.timer.Reset(sieveLife)
	}
	return nil
}

// gather has datagrams that came together read as one message, or no longer, where that is possible.
func (v *sieve) gather(on bool) {
	if !v.socket.gathers.Load() {
		return
	}
	if raw, err := v.socket.pc.SyscallConn(); err == nil {
		gather(raw, on)
	}
}

// end is for a socket that is read no more.
func (v *sieve) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	if v.timer != nil {
		v.timer.Stop()
	}
}

// program is the filter: only new work, only of these addresses, only what is not below their bounds.
func (v *sieve) program(bounds map[netip.Addr]uint32) []bpf.Instruction {
	const udp, network = 8, 0xFFF00000 // SKF_NET_OFF: the IP header, whatever the offset of the rest
	v4 := v.socket.local.Addr().Is4()
	words, source := uint32(1), uint32(12)
	if !v4 {
		words, source = 4, 8
	}
	p := []bpf.Instruction{
		// The kernel takes no program that might read what was not written, and does not see that a return ends a way.
		bpf.LoadConstant{Dst: bpf.RegX, Val: everything},
		bpf.StoreScratch{Src: bpf.RegX, N: 1},
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: udp + lotTo, SkipTrue: 1},
		bpf.RetConstant{Val: everything},
		bpf.LoadAbsolute{Off: udp, Size: 4},
	}
	for i, m := range siftedMethods {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: m, SkipTrue: uint8(len(siftedMethods) - i)})
	}
	p = append(p, bpf.RetConstant{Val: everything})
	entry := 2*words + 3
	left := uint32(len(bounds))
	for a, bound := range bounds {
		left--
		var octets [16]byte
		if v4 {
			four := a.Unmap().As4()
			copy(octets[:], four[:])
		} else {
			octets = a.As16()
		}
		for i := range words {
			p = append(p, bpf.LoadAbsolute{Off: network + source + 4*i, Size: 4},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(octets[4*i:]), SkipFalse: uint8(entry - 2*i - 2)})
		}
		p = append(p, bpf.LoadConstant{Dst: bpf.RegX, Val: bound}, bpf.StoreScratch{Src: bpf.RegX, N: 1}, bpf.Jump{Skip: left*entry + 1})
	}
	p = append(p, bpf.RetConstant{Val: everything})
	return append(p, v.socket.layer.lots.program()...)
}
