package faults

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"

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
	octets, err := os.ReadFile(guestModules)
	if err != nil {
		return err
	}
	var drivers guestDrivers
	if err := json.Unmarshal(octets, &drivers); err != nil {
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
	if err := load(drivers.First); err != nil {
		return err
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
	order, err := waitForOrder()
	if err != nil {
		return err
	}
	if err := os.WriteFile(guestConfig, []byte(order.Configuration), 0o600); err != nil {
		return err
	}
	if err := load(drivers.Disk); err != nil {
		return err
	}
	const disk = "/dev/vda"
	if err := appears(disk); err != nil {
		return err
	}
	if err := os.MkdirAll("/data", 0o755); err != nil {
		return err
	}
	if err := unix.Mount(disk, "/data", "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
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
		if order.Unsynced {
			c.Env = append(c.Env, "ISTHMUS_UNSYNCED=1")
		}
		fmt.Println("GUEST: the gateway ended:", c.Run())
		time.Sleep(time.Second)
	}
	return errors.New("the gateway ends by itself")
}

// waitForOrder says that the machine waits, again and again: it is saved here, and goes on as another one. Then it takes over the clock and
// the chance that it is given.
func waitForOrder() (o guestOrder, err error) {
	got := make(chan struct{})
	go func() {
		for {
			fmt.Println(guestWaits)
			select {
			case <-got:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	line, err := bufio.NewReaderSize(os.Stdin, 2*maxOrder).ReadBytes('\n')
	close(got)
	if err != nil {
		return o, fmt.Errorf("the console: %w", err)
	}
	if err := json.Unmarshal(line, &o); err != nil {
		return o, fmt.Errorf("the order: %w", err)
	}
	now, err := unix.TimeToTimespec(o.Now)
	if err != nil {
		return o, err
	}
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return o, fmt.Errorf("the clock: %w", err)
	}
	return o, reseed(o.Chance)
}

// reseed has the kernel make its random numbers from something that no other machine has.
func reseed(chance []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(chance); err != nil {
		return err
	}
	const reseedNow = 0x5207 // RNDRESEEDCRNG
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), reseedNow, 0); errno != 0 {
		return fmt.Errorf("random numbers: %w", errno)
	}
	return nil
}

// load loads modules of the kernel.
func load(files []string) error {
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("module %s: %w", file, err)
		}
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
