package faults

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// machine is a virtual machine (QEMU, emulated: it needs no rights and no support of the processor) with the gateway in it, on a disk of its
// own. To end it is what a power failure is to a real one: what the guest's kernel has not written to its disk is gone.
type machine struct {
	moment *moment // that it begins from
	disk   *disk
	dir    string
	sip    int // the host's port that leads to the gateway

	boots   int
	cmd     *exec.Cmd
	done    chan struct{}
	console *transcript
}

// transcript is what was on a console. Safe for use from many goroutines.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *transcript) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.WriteString(line)
	t.text.WriteByte('\n')
}

// has tells whether one of some texts is in it.
func (t *transcript) has(texts ...string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(t.text.String(), text) })
}

// The guest's files, and its lines on the console that the host waits for.
const (
	guestModules   = "/modules.json"
	guestConfig    = "/isthmus.yaml"
	guestSecret    = "/secret"
	guestAdmin     = "127.0.0.1:9090"
	guestWaits     = "GUEST waits"
	guestReady     = "GUEST serves"
	guestFault     = "GUEST fault: "
	guestAddress   = "10.0.2.15"
	hostAddress    = "10.0.2.2" // of the host, as QEMU's user network shows it
	guestInterface = "eth0"
)

// guestOrder is what the host tells the first process of the guest on its console, in one line of JSON.
type guestOrder struct {
	// Configuration is the gateway's.
	Configuration string `json:"configuration"`
	// Now is the host's clock, and Chance what the guest's kernel makes random numbers from: two machines that begin from the same moment
	// have the same clock and the same numbers otherwise.
	Now    time.Time `json:"now"`
	Chance []byte    `json:"chance"`
	// Unsynced has the gateway's store not sync, which only a build with -tags failpoints does.
	Unsynced bool `json:"unsynced,omitempty"`
}

// maxOrder is the longest line that the guest's console takes.
const maxOrder = 4000

const machineConfiguration = `log: {level: warn}
sip:
  listeners: [{transport: udp, address: "GUEST:5060"}]
  peers: [{name: faults, networks: [HOST/32], domains: [sip.test]}]
xmpp:
  components: [{name: faults, server: "HOST:XMPP", domain: sip.test, serves: [xmpp.test], secret_file: secret}]
  backoff_first: 50ms
  backoff_longest: 500ms
routes:
  - {domain: sip.test, via: sip, next_hops: ["sip:HOST:USER;transport=udp"]}
  - {domain: xmpp.test, via: xmpp, next_hops: ["component:faults"]}
store: {directory: /data/store}
admin: {listen: "ADMIN"}
limits: {drain: 10s, messages: {direct_wait: 1s, pair_rate: 1000000, pair_burst: 10000000}}
`

// ErrNoMachine says what is missing.
var ErrNoMachine = errors.New("an OS crash needs Debian's packages qemu-system-x86 and linux-image-cloud-amd64, and mkfs.ext4")

// newMachine makes the disk.
func newMachine(from *moment, dir string) (m *machine, err error) {
	m = &machine{moment: from, dir: dir}
	if m.sip, err = freeUDPPort(net.IPv4(127, 0, 0, 1)); err != nil {
		return nil, err
	}
	m.disk, err = newDisk(filepath.Join(dir, "disk.img"), func(name string) error {
		mkfs, err := exec.LookPath("mkfs.ext4")
		if err != nil {
			mkfs = "/sbin/mkfs.ext4"
		}
		if out, err := exec.Command(mkfs, "-q", "-F", name).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %w %s", ErrNoMachine, err, out)
		}
		return nil
	})
	return m, err
}

// close ends it and forgets its disk.
func (m *machine) close() {
	m.crash()
	m.disk.close()
}

// freeUDPPort is a port of host that nobody had a moment ago, from below those that the kernel gives to sockets which ask for none.
func freeUDPPort(host net.IP) (int, error) {
	var last error
	for range 200 {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: host, Port: anyPort()})
		if err == nil {
			defer c.Close()
			return c.LocalAddr().(*net.UDPAddr).Port, nil
		}
		last = err
	}
	return 0, last
}

// boot starts it, and waits until the gateway in it serves. The ports are the host's: of the XMPP side, and of the SIP side. A kernel that
// ends itself before is started again: an emulated one does when the host has no time for it.
func (m *machine) boot(o guestOrder, xmpp, user int) (err error) {
	o.Configuration = strings.NewReplacer("GUEST", guestAddress, "HOST", hostAddress, "XMPP", fmt.Sprint(xmpp), "USER", fmt.Sprint(user), "ADMIN", guestAdmin).Replace(machineConfiguration)
	for range 3 {
		if err = m.bootOnce(o); !errors.Is(err, errEnded) {
			break
		}
	}
	return err
}

var errEnded = errors.New("the virtual machine ended before it served")

func (m *machine) bootOnce(o guestOrder) error {
	m.boots++
	log, err := os.Create(filepath.Join(m.dir, fmt.Sprintf("console-%d", m.boots)))
	if err != nil {
		return err
	}
	state, err := os.Open(m.moment.state())
	if err != nil {
		log.Close()
		return err
	}
	defer state.Close()
	near, far, err := pair("disk")
	if err != nil {
		log.Close()
		return err
	}
	defer far.Close()
	serial, farSerial, err := pair("serial")
	if err != nil {
		near.Close()
		log.Close()
		return err
	}
	defer farSerial.Close()
	started := false
	defer func() {
		if !started {
			serial.Close()
			near.Close()
			log.Close()
		}
	}()
	// The numbers of the files are those of ExtraFiles, from 3.
	cmd := m.moment.command("false", `"driver":"nbd","server":{"type":"fd","str":"4"}`, fmt.Sprintf(",hostfwd=udp:127.0.0.1:%d-%s:5060", m.sip, guestAddress), "-chardev", "socket,id=serial,fd=5", "-serial", "chardev:serial", "-incoming", "defer")
	cmd.ExtraFiles = []*os.File{state, far, farSerial}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoMachine, err)
	}
	started = true
	done, waits, ready, failed := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan error, 1)
	m.cmd, m.done, m.console = cmd, done, &transcript{}
	console := m.console
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer near.Close()
		_ = m.disk.serve(near) // it ends when the machine is killed
	}()
	resumed := make(chan struct{})
	go func() {
		defer close(resumed)
		if err := resume(in, out); err != nil {
			console.add("QEMU: " + err.Error())
		}
	}()
	go func() {
		defer close(done)
		defer func() { <-served }()
		defer log.Close()
		defer serial.Close()
		lines := bufio.NewScanner(serial)
		lines.Buffer(nil, 1<<20)
		waiting, serving := false, false
		for lines.Scan() {
			line := strings.TrimSpace(lines.Text())
			fmt.Fprintln(log, line)
			console.add(line)
			if strings.Contains(line, guestWaits) && !waiting {
				waiting = true
				close(waits)
			}
			if strings.Contains(line, guestReady) && !serving {
				serving = true
				close(ready)
			}
			if _, what, ok := strings.Cut(line, guestFault); ok {
				select {
				case failed <- errors.New(what):
				default:
				}
			}
		}
		<-resumed
		_ = cmd.Wait() // it is killed
	}()
	limit := time.After(bootWait)
	for {
		select {
		case <-waits:
			waits = nil
			if err := o.give(serial); err != nil {
				return err
			}
		case <-ready:
			return nil
		case err := <-failed:
			return fmt.Errorf("the virtual machine: %w", err)
		case <-done:
			return errEnded
		case <-limit:
			return fmt.Errorf("the virtual machine does not serve within %v", bootWait)
		}
	}
}

// give writes an order to a guest that waits for it.
func (o guestOrder) give(to io.Writer) error {
	o.Chance = make([]byte, 64)
	_, _ = rand.Read(o.Chance) // it does not fail
	o.Now = time.Now()
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if len(line) > maxOrder {
		return fmt.Errorf("an order of %d octets does not fit into a line of the console", len(line))
	}
	_, err = to.Write(append(line, '\n'))
	return err
}

// bootWait is for an emulated machine on a host that is busy.
const bootWait = 5 * time.Minute

// crash ends it as a power failure does.
func (m *machine) crash() {
	if m.cmd == nil || m.done == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may have ended
	<-m.done
	m.cmd = nil
}
