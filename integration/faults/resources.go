package faults

import (
	"bufio"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// resources are what a gateway takes of its machine (I5).
type resources struct {
	goroutines, files int
	memory            int64 // resident, in octets
}

func (r resources) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d MiB", r.goroutines, r.files, r.memory>>20)
}

// The bounds of I5: what a gateway that is quiet again may have more than it had before its load, and its memory at any time it is looked at.
const (
	moreGoroutines = 10
	moreFiles      = 5
	maxMemory      = 384 << 20
	// maxStoreSize is what the store's directory may take when everything in it has come to its end.
	maxStoreSize = 32 << 20
)

// resources asks the gateway.
func (g *gateway) resources() (r resources, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(fmt.Sprintf("http://%s:%d/metrics", g.host, g.admin))
	if err != nil {
		return r, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "go_goroutines":
			r.goroutines = int(n)
		case "process_open_fds":
			r.files = int(n)
		case "process_resident_memory_bytes":
			r.memory = int64(n)
		}
	}
	return r, nil
}

// quiet waits until the gateway takes no more than before, but for so many goroutines that a reload keeps for a while; what it takes too much else.
func (g *gateway) quiet(before resources, kept int, patience time.Duration) (now resources, bad []string) {
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		r, err := g.resources()
		if err != nil {
			return r, nil // it ended: the round sees that
		}
		now = r
		calm := now.goroutines <= before.goroutines+moreGoroutines+kept && now.files <= before.files+moreFiles
		if calm || time.Now().After(end) {
			if !calm {
				bad = append(bad, fmt.Sprintf("I5: %s after %v of quiet, and %s before the load; where they wait is in its log", now, patience, before))
				g.signal(syscall.SIGQUIT) // it ends, and writes its goroutines to its log
				<-g.done
				return now, bad
			}
			if now.memory > maxMemory {
				bad = append(bad, fmt.Sprintf("I5: %s, more than %d MiB", now, int64(maxMemory)>>20))
			}
			return now, bad
		}
	}
}

// storeSize is what the store takes on the disk.
func (g *gateway) storeSize() (n int64) {
	_ = filepath.WalkDir(filepath.Join(g.dir, "store"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if i, err := d.Info(); err == nil {
				n += i.Size()
			}
		}
		return nil
	})
	return n
}
