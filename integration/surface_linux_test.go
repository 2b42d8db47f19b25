package integration_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/integration/lab"
)

// listeners are the sockets of a process on which strangers can begin to talk to it, by the kernel's tables: TCP that listens, UDP that is not
// connected, and unix sockets that have a name or listen.
func listeners(t *testing.T, pid int) (found []string) {
	t.Helper()
	own := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		t.Fatalf("the process has no files: %v", err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil { // one may have been closed meanwhile
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6", "packet", "unix"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(b), "\n")[1:]
		for _, line := range lines {
			f := strings.Fields(line)
			switch {
			case table == "unix" && len(f) >= 7 && own[f[6]] && (len(f) > 7 || f[3] == "00010000"):
				found = append(found, "unix "+strings.Join(f[7:], " "))
			case table == "packet" && len(f) >= 9 && own[f[8]]:
				found = append(found, table)
			case table == "unix" || table == "packet" || len(f) < 10 || !own[f[9]]:
			case strings.HasPrefix(table, "tcp") && f[3] != "0A", strings.HasPrefix(table, "udp") && !strings.HasSuffix(f[2], ":0000"):
				// a connection
			default:
				var port int
				_, hex, _ := strings.Cut(f[1], ":")
				if _, err := fmt.Sscanf(hex, "%X", &port); err != nil {
					t.Fatal(err)
				}
				found = append(found, fmt.Sprintf("%s %d", table, port))
			}
		}
	}
	slices.Sort(found)
	return found
}

// T-AD-05: nothing listens that the configuration does not name: the sockets of the real process, with everything that it can have at work (the
// store's engine, links, names), by the kernel's own tables. T-AD-04: and what it writes nobody else may read.
func TestSurface(t *testing.T) {
	folder := t.TempDir()
	probe := filepath.Join(folder, "probe")
	if err := os.WriteFile(probe, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(probe); err != nil || info.Mode().Perm()&0o044 == 0 {
		t.Fatalf("the umask hides what modes there would be: %v, %v", info.Mode(), err)
	}
	socket, err := os.MkdirTemp("", "i") // a unix socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(socket) })
	store := filepath.Join(folder, "store")
	server := lab.StartXMPPServer(t, lab.XMPPServerConfig{Software: lab.ProsodyServer})
	agent := lab.FreePorts(t, 1)[0]
	gateway := lab.StartGateway(t, lab.GatewayConfig{
		Component: server.Component, NextHop: overUDP(agent), Extra: "store: {directory: \"" + store + "\"}\nlimits: {messages: {direct_wait: 1s}}\n",
	})
	juliet := server.LogIn(t, "juliet", "balcony")
	// A message that waits: with its words in the store.
	juliet.Send(t, lab.Stanza{Stanza: "message", To: p("romeo@example.net"), Body: p("Wherefore art thou")})
	lab.Eventually(t, patience, "a message is stored", func() bool {
		_, metrics := gateway.Get("/metrics")
		return waiting.MatchString(metrics)
	})
	want := []string{fmt.Sprintf("tcp %d", gateway.Admin), fmt.Sprintf("tcp %d", gateway.Port), fmt.Sprintf("udp %d", gateway.Port)}
	slices.Sort(want)
	if got := listeners(t, gateway.PID()); !slices.Equal(got, want) {
		t.Errorf("it listens on %q, and is told to on %q", got, want)
	}
	files := 0
	if err := filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		files++
		return err
	}); err != nil || files < 3 {
		t.Errorf("%d files: %v", files, err)
	}
}

// waiting is what the metrics say while something is stored.
var waiting = regexp.MustCompile(`(?m)^isthmus_store_entries(\{.*\})? [1-9]`)
