package faults

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// machine is a virtual machine (QEMU, emulated: it needs no rights and no support of the processor) with the gateway in it, on a disk of its
// own. To end it is what a power failure is to a real one: what the guest's kernel has not written to its disk is gone.
type machine struct {
	binary, dir string
	sip         int // the host's port that leads to the gateway
	kernel      string
	modules     []string // on the host, in the order to be loaded

	boots   int
	cmd     *exec.Cmd
	done    chan struct{}
	console *bytes.Buffer // read when it has ended
}

// guestSpec is what the first process of the guest is to do.
type guestSpec struct {
	// Modules are the kernel's, in the order in which they are loaded; paths in the guest.
	Modules []string `json:"modules"`
	// ErrorsAfter is after how many seconds every write to the disk fails; 0: never.
	ErrorsAfter int `json:"errors_after"`
	// Unsynced has the gateway's store not sync, which only a build with -tags failpoints does.
	Unsynced bool `json:"unsynced"`
}

// The guest's files, and its lines on the console that the host waits for.
const (
	guestSpecFile  = "/guest.json"
	guestConfig    = "/isthmus.yaml"
	guestSecret    = "/secret"
	guestAdmin     = "127.0.0.1:9090"
	guestReady     = "GUEST serves"
	guestFault     = "GUEST fault: "
	guestAddress   = "10.0.2.15"
	hostAddress    = "10.0.2.2" // of the host, as QEMU's user network shows it
	guestInterface = "eth0"
)

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
limits: {drain: 10s, messages: {direct_wait: 5s, pair_rate: 1000000, pair_burst: 10000000}}
`

// ErrNoMachine says what is missing.
var ErrNoMachine = errors.New("an OS crash needs Debian's packages qemu-system-x86 and linux-image-cloud-amd64, and mkfs.ext4")

// newMachine finds the kernel and makes the disk.
func newMachine(binary, dir string) (*machine, error) {
	if err := static(binary); err != nil {
		return nil, err
	}
	m := &machine{binary: binary, dir: dir}
	kernels, err := filepath.Glob("/boot/vmlinuz-*cloud-amd64")
	if err != nil {
		return nil, err
	}
	if len(kernels) == 0 {
		return nil, ErrNoMachine
	}
	m.kernel = kernels[len(kernels)-1]
	if m.modules, err = modulesOf("/lib/modules/"+strings.TrimPrefix(filepath.Base(m.kernel), "vmlinuz-"), "virtio_pci", "virtio_blk", "virtio_net", "dm-flakey"); err != nil {
		return nil, err
	}
	if m.sip, err = freeUDPPort(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(m.disk(), nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(m.disk(), 128<<20); err != nil {
		return nil, err
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/sbin/mkfs.ext4"
	}
	if out, err := exec.Command(mkfs, "-q", "-F", m.disk()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %w %s", ErrNoMachine, err, out)
	}
	return m, nil
}

func (m *machine) disk() string { return filepath.Join(m.dir, "disk.img") }

// static refuses a program that needs others to run.
func static(binary string) error {
	f, err := elf.Open(binary)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs shared libraries, which the virtual machine has not: build it with CGO_ENABLED=0", binary)
		}
	}
	return nil
}

// freeUDPPort is a port of loopback that nobody had a moment ago.
func freeUDPPort() (int, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}

// modulesOf lists modules with all that they need, in the order to be loaded. What is built into the kernel is left out.
func modulesOf(dir string, names ...string) (list []string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		for line := range strings.Lines(string(text)) {
			file, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
			if path.Base(file) != name+".ko" {
				continue
			}
			all := append([]string{file}, strings.Fields(needs)...)
			slices.Reverse(all)
			for _, f := range all {
				if f = filepath.Join(dir, f); !slices.Contains(list, f) {
					list = append(list, f)
				}
			}
		}
	}
	return list, nil
}

// initrd writes the guest's first file system.
func (m *machine) initrd(spec guestSpec, xmpp, user int) (string, error) {
	name := filepath.Join(m.dir, "initrd")
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	a := &archive{w: f}
	for _, d := range [...]string{"dev", "modules"} {
		a.folder(d)
	}
	a.device("dev/console", 5, 1)
	put := func(at, file string, mode int) error {
		b, err := os.ReadFile(file)
		if err == nil {
			a.file(at, mode, b)
		}
		return err
	}
	if err := put("isthmus", m.binary, 0o755); err != nil {
		return "", err
	}
	for _, k := range m.modules {
		at := "modules/" + filepath.Base(k)
		if err := put(at, k, 0o644); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%w: %w", ErrNoMachine, err)
		} else if err != nil {
			return "", err
		}
		spec.Modules = append(spec.Modules, "/"+at)
	}
	octets, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	a.file(strings.TrimPrefix(guestSpecFile, "/"), 0o600, octets)
	a.file(strings.TrimPrefix(guestSecret, "/"), 0o600, []byte("faults\n"))
	text := strings.NewReplacer("GUEST", guestAddress, "HOST", hostAddress, "XMPP", fmt.Sprint(xmpp), "USER", fmt.Sprint(user), "ADMIN", guestAdmin).Replace(machineConfiguration)
	a.file(strings.TrimPrefix(guestConfig, "/"), 0o600, []byte(text))
	return name, errors.Join(a.end(), f.Close())
}

// boot starts it, and waits until the gateway in it serves. The ports are the host's: of the XMPP side, and of the SIP side. A kernel that
// ends itself before is started again: an emulated one does when the host has no time for it.
func (m *machine) boot(spec guestSpec, xmpp, user int) (err error) {
	for range 3 {
		if err = m.bootOnce(spec, xmpp, user); !errors.Is(err, errEnded) {
			break
		}
	}
	return err
}

var errEnded = errors.New("the virtual machine ended before it served")

func (m *machine) bootOnce(spec guestSpec, xmpp, user int) error {
	initrd, err := m.initrd(spec, xmpp, user)
	if err != nil {
		return err
	}
	m.boots++
	log, err := os.Create(filepath.Join(m.dir, fmt.Sprintf("console-%d", m.boots)))
	if err != nil {
		return err
	}
	m.cmd = exec.Command("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
		"-kernel", m.kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 no_timer_check rdinit=/isthmus -- faults --guest",
		"-drive", "file="+m.disk()+",format=raw,if=virtio,cache=writeback",
		"-netdev", fmt.Sprintf("user,id=n,restrict=off,hostfwd=udp:127.0.0.1:%d-%s:5060", m.sip, guestAddress), "-device", "virtio-net-pci,netdev=n,romfile=")
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	m.cmd.Stderr = log
	if err := m.cmd.Start(); err != nil {
		log.Close()
		return fmt.Errorf("%w: %w", ErrNoMachine, err)
	}
	cmd, done, ready, failed := m.cmd, make(chan struct{}), make(chan struct{}), make(chan error, 1)
	m.done, m.console = done, &bytes.Buffer{}
	console := m.console
	go func() {
		defer close(done)
		defer log.Close()
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		serving := false
		for lines.Scan() {
			line := strings.TrimSpace(lines.Text())
			fmt.Fprintln(log, line)
			fmt.Fprintln(console, line)
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
		_ = cmd.Wait() // it is killed
	}()
	select {
	case <-ready:
		return nil
	case err := <-failed:
		return fmt.Errorf("the virtual machine: %w", err)
	case <-done:
		return errEnded
	case <-time.After(bootWait):
		return fmt.Errorf("the virtual machine does not serve within %v", bootWait)
	}
}

// bootWait is for an emulated machine on a host that is busy.
const bootWait = 5 * time.Minute

// crash ends it as a power failure does, and returns what was on its console.
func (m *machine) crash() string {
	if m.cmd == nil || m.done == nil {
		return ""
	}
	_ = m.cmd.Process.Kill() // it may have ended
	<-m.done
	m.cmd = nil
	return m.console.String()
}
