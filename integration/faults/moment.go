package faults

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// moment is a virtual machine's memory, saved when its kernel has started and nothing of its disk has been looked at: the driver of the disk
// is not loaded yet. Every machine of a run begins from there, with its own disk and its own order, so that a power failure costs the
// start of the gateway and not that of a kernel. The memory is a file, of which each machine changes its own copy.
type moment struct {
	binary, dir string
	kernel      string
}

// newMoment starts a machine of a static binary, and saves it in dir.
func newMoment(ctx context.Context, binary, dir string) (*moment, error) {
	if err := static(binary); err != nil {
		return nil, err
	}
	kernels, err := filepath.Glob("/boot/vmlinuz-*cloud-amd64")
	if err != nil {
		return nil, err
	}
	if len(kernels) == 0 {
		return nil, ErrNoMachine
	}
	m := &moment{binary: binary, dir: dir, kernel: kernels[len(kernels)-1]}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := m.initrd(); err != nil {
		return nil, err
	}
	// A kernel may end itself: an emulated one does when the host has no time for it.
	for range 3 {
		if err = m.save(ctx); !errors.Is(err, errEnded) {
			break
		}
	}
	return m, err
}

func (m *moment) state() string { return filepath.Join(m.dir, "state") }

// command is QEMU's, the same for the machine that is saved and for those that begin from there. share tells whether its memory is the file's, on or
// off; disk is what is behind the machine's, as members of a JSON object.
func (m *moment) command(share, disk, forward string, more ...string) *exec.Cmd {
	return exec.Command("qemu-system-x86_64", append([]string{
		"-accel", "tcg", "-cpu", "max", "-m", "512", "-machine", "pc,memory-backend=ram", "-object", fmt.Sprintf(`{"qom-type":"memory-backend-file","id":"ram","size":%d,"mem-path":%q,"share":%s}`, 512<<20, filepath.Join(m.dir, "memory"), share),
		"-qmp", "stdio", "-display", "none", "-no-reboot", "-nodefaults",
		"-kernel", m.kernel, "-initrd", filepath.Join(m.dir, "initrd"), "-append", "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off rdinit=/isthmus -- faults --guest",
		"-blockdev", `{"node-name":"disk",` + disk + `}`, "-device", "virtio-blk-pci,drive=disk,write-cache=on",
		"-netdev", "user,id=n,restrict=off" + forward, "-device", "virtio-net-pci,netdev=n,romfile=",
	}, more...)...)
}

// save starts the machine and saves it when it waits for its order.
func (m *moment) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootWait)
	defer cancel()
	console := filepath.Join(m.dir, "console")
	cmd := m.command("true", fmt.Sprintf(`"driver":"null-co","read-zeroes":true,"size":%d`, diskSize), "", "-serial", "file:"+console)
	// The file's name is nothing that a shell would read.
	cmd.Env = append(os.Environ(), "ISTHMUS_STATE="+m.state())
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoMachine, err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })() // it may have ended
	defer func() {
		_ = cmd.Process.Kill() // likewise
		_ = cmd.Wait()         // it was killed
	}()
	answers := json.NewDecoder(out)
	if err := ask(in, answers, `{"execute":"qmp_capabilities"}`, nil); err != nil {
		return err
	}
	for {
		text, err := os.ReadFile(console)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, what, ok := strings.Cut(string(text), guestFault); ok {
			return fmt.Errorf("the virtual machine: %.200s", what)
		}
		if strings.Contains(string(text), guestWaits) {
			break
		}
		var s struct{ Running bool }
		if err := ask(in, answers, `{"execute":"query-status"}`, &s); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := ask(in, answers, memoryStays, nil); err != nil {
		return err
	}
	// It is not stopped before: what is saved while it stands stands when it is read.
	if err := ask(in, answers, `{"execute":"migrate","arguments":{"uri":"exec:cat > \"$ISTHMUS_STATE\""}}`, nil); err != nil {
		return err
	}
	for {
		var s struct{ Status string }
		if err := ask(in, answers, `{"execute":"query-migrate"}`, &s); err != nil {
			return err
		}
		switch s.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return errors.New("the virtual machine's memory cannot be saved")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// memoryStays tells QEMU that the memory is where it is, in its file.
const memoryStays = `{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"x-ignore-shared","state":true}]}}`

// resume has a machine that was started for that go on from a moment, whose state is its file 3.
func resume(in io.Writer, out io.Reader) error {
	answers := json.NewDecoder(out)
	for _, command := range [...]string{`{"execute":"qmp_capabilities"}`, memoryStays, `{"execute":"migrate-incoming","arguments":{"uri":"fd:3"}}`} {
		if err := ask(in, answers, command, nil); err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, out) // events, until it ends
	return err
}

// ask gives QEMU a command, and reads what it answers into a value, nil: nothing. QEMU tells of events meanwhile, which are left out.
func ask(in io.Writer, answers *json.Decoder, command string, value any) error {
	if _, err := io.WriteString(in, command+"\n"); err != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	}
	for {
		var a struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		switch err := answers.Decode(&a); {
		case err != nil:
			return fmt.Errorf("%w: %w", errEnded, err)
		case a.Error != nil:
			return fmt.Errorf("the virtual machine: %s", a.Error.Desc)
		case a.Return != nil && value != nil:
			return json.Unmarshal(a.Return, value)
		case a.Return != nil:
			return nil
		}
	}
}

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

// guestDrivers are the kernel's modules that the guest loads, in their order; paths in the guest.
type guestDrivers struct {
	First []string `json:"first"`
	// Disk are loaded when the order has come.
	Disk []string `json:"disk"`
}

// initrd writes the guest's first file system.
func (m *moment) initrd() error {
	f, err := os.Create(filepath.Join(m.dir, "initrd"))
	if err != nil {
		return err
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
		return err
	}
	all := "/lib/modules/" + strings.TrimPrefix(filepath.Base(m.kernel), "vmlinuz-")
	first, err := modulesOf(all, "virtio_pci", "virtio_net")
	if err != nil {
		return err
	}
	disk, err := modulesOf(all, "virtio_blk")
	if err != nil {
		return err
	}
	var drivers guestDrivers
	for _, k := range append(first, disk...) {
		at := "modules/" + filepath.Base(k)
		if slices.Contains(drivers.First, "/"+at) {
			continue
		}
		if err := put(at, k, 0o644); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrNoMachine, err)
		} else if err != nil {
			return err
		}
		if slices.Contains(first, k) {
			drivers.First = append(drivers.First, "/"+at)
		} else {
			drivers.Disk = append(drivers.Disk, "/"+at)
		}
	}
	octets, err := json.Marshal(drivers)
	if err != nil {
		return err
	}
	a.file(strings.TrimPrefix(guestModules, "/"), 0o600, octets)
	a.file(strings.TrimPrefix(guestSecret, "/"), 0o600, []byte("faults\n"))
	return errors.Join(a.end(), f.Close())
}
