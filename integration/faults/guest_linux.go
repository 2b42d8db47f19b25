package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Guest is the first process of a virtual machine: it loads the modules, mounts the disk, brings up the network and runs `isthmus serve` of
// its own file. It does not return.
func Guest() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "this is the first process of the virtual machine that `isthmus faults --os-crash` starts, and nothing else")
		os.Exit(2)
	}
	fmt.Println(guestFault + guest().Error())
	for {
		time.Sleep(time.Hour) // a kernel without its first process panics, and the host would see less
	}
}

// guest returns when the gateway has ended, or could not begin: an error in any case.
func guest() error {
	octets, err := os.ReadFile(guestSpecFile)
	if err != nil {
		return err
	}
	var spec guestSpec
	if err := json.Unmarshal(octets, &spec); err != nil {
		return err
	}
	for _, m := range [...]struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for _, m := range spec.Modules {
		if err := load(m); err != nil {
			return fmt.Errorf("module %s: %w", m, err)
		}
	}
	disk := "/dev/vda"
	if err := appears(disk); err != nil {
		return err
	}
	if spec.ErrorsAfter > 0 {
		if disk, err = flakey(disk, spec.ErrorsAfter); err != nil {
			return err
		}
	}
	if err := os.MkdirAll("/data", 0o755); err != nil {
		return err
	}
	if err := unix.Mount(disk, "/data", "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	if err := appears("/sys/class/net/" + guestInterface); err != nil {
		return err
	}
	if err := interfaceUp("lo", "127.0.0.1", "255.0.0.0"); err != nil {
		return err
	}
	if err := interfaceUp(guestInterface, guestAddress, "255.255.255.0"); err != nil {
		return err
	}
	go func() {
		client := http.Client{Timeout: time.Second}
		for {
			if r, err := client.Get("http://" + guestAdmin + "/healthz"); err == nil {
				r.Body.Close()
				fmt.Println(guestReady)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	// As a service manager does, one that ends is started again: on a host without time for the machine it may give up its start.
	for range 10 {
		c := exec.Command("/proc/self/exe", "serve", "-c", guestConfig)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.Env = []string{"HOME=/tmp", "PATH=/"}
		if spec.Unsynced {
			c.Env = append(c.Env, "ISTHMUS_UNSYNCED=1")
		}
		fmt.Println("GUEST: the gateway ended:", c.Run())
		time.Sleep(time.Second)
	}
	return errors.New("the gateway ends by itself")
}

// load loads a module of the kernel.
func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// appears waits for a device.
func appears(path string) error {
	for range 200 {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s does not appear", path)
}

// interfaceUp gives an interface an address, and brings it up.
func interfaceUp(name, address, mask string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	set := func(request uint, text string) error {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		var a [4]byte
		if _, err := fmt.Sscanf(text, "%d.%d.%d.%d", &a[0], &a[1], &a[2], &a[3]); err != nil {
			return err
		}
		if err := r.SetInet4Addr(a[:]); err != nil {
			return err
		}
		return unix.IoctlIfreq(s, request, r)
	}
	if err := set(unix.SIOCSIFADDR, address); err != nil {
		return fmt.Errorf("address of %s: %w", name, err)
	}
	if err := set(unix.SIOCSIFNETMASK, mask); err != nil {
		return fmt.Errorf("network of %s: %w", name, err)
	}
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

// The device mapper's interface (linux/dm-ioctl.h).
type mapperHead struct {
	Version     [3]uint32
	Size        uint32
	Start       uint32
	TargetCount uint32
	OpenCount   int32
	Flags       uint32
	EventNr     uint32
	_           uint32
	Dev         uint64
	Name        [128]byte
	UUID        [129]byte
	_           [7]byte
}

type mapperTarget struct {
	Start, Length uint64
	Status        int32
	Next          uint32
	Type          [16]byte
}

type mapperCall struct {
	head   mapperHead
	target mapperTarget
	params [256]byte
}

const (
	mapperCreate  = 0xc138fd03
	mapperSuspend = 0xc138fd06 // resumes, without the flag
	mapperLoad    = 0xc138fd09
)

// flakey puts a device before the disk that works for some seconds, and then fails each write. It returns its name.
func flakey(disk string, after int) (string, error) {
	sizes, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(disk), "size"))
	if err != nil {
		return "", err
	}
	var sectors uint64
	if _, err := fmt.Sscan(string(sizes), &sectors); err != nil {
		return "", err
	}
	numbers, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(disk), "dev"))
	if err != nil {
		return "", err
	}
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	for _, request := range [...]uintptr{mapperCreate, mapperLoad, mapperSuspend} {
		call := &mapperCall{head: mapperHead{Version: [3]uint32{4, 0, 0}, Size: uint32(unsafe.Sizeof(mapperCall{})), Start: uint32(unsafe.Offsetof(mapperCall{}.target))}}
		copy(call.head.Name[:], "flakey")
		if request == mapperLoad {
			call.head.TargetCount, call.target.Length = 1, sectors
			copy(call.target.Type[:], "flakey")
			var major, minor int
			if _, err := fmt.Sscanf(string(numbers), "%d:%d", &major, &minor); err != nil {
				return "", err
			}
			copy(call.params[:], fmt.Sprintf("%d:%d 0 %d 100000 1 error_writes", major, minor, after))
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), request, uintptr(unsafe.Pointer(call))); errno != 0 {
			return "", fmt.Errorf("the device mapper: call %#x: %w", request, errno)
		}
	}
	return "/dev/dm-0", appears("/dev/dm-0")
}
