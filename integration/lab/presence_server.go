package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// PresenceServer is a Kamailio with its presence modules: a SIP presence server that takes PUBLISH and SUBSCRIBE for every user it is
// asked about, lets everybody watch, and keeps its tables in text files.
type PresenceServer struct {
	Port int
}

const presenceServerConfig = `#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
listen=udp:127.0.0.1:PORT
listen=tcp:127.0.0.1:PORT
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "db_text.so"
loadmodule "presence.so"
loadmodule "presence_xml.so"
modparam("presence", "db_url", "text://TABLES")
modparam("presence", "server_address", "sip:127.0.0.1:PORT")
modparam("presence", "min_expires", 1)
modparam("presence", "notifier_processes", 0)
modparam("presence_xml", "db_url", "text://TABLES")
modparam("presence_xml", "force_active", 1)
request_route {
	if (!mf_process_maxfwd_header("10")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	t_newtran();
	if (is_method("PUBLISH")) {
		handle_publish();
	} else if (is_method("SUBSCRIBE")) {
		handle_subscribe();
	} else {
		t_reply("404", "Not Here");
	}
	t_release();
}
`

// StartPresenceServer starts one.
func StartPresenceServer(t testing.TB) *PresenceServer {
	t.Helper()
	program := need(t, "kamailio", "/usr/sbin/kamailio")
	s := &PresenceServer{Port: FreePorts(t, 1)[0]}
	dir := t.TempDir()
	for _, table := range []string{"presentity", "active_watchers", "watchers", "xcap", "version"} {
		empty, err := os.ReadFile(filepath.Join("/usr/share/kamailio/dbtext/kamailio", table))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, filepath.Join("tables", table), string(empty))
	}
	config := write(t, dir, "presence.cfg", expand(presenceServerConfig, "PORT", strconv.Itoa(s.Port), "TABLES", filepath.Join(dir, "tables")))
	start(t, dir, "presence-server", exec.Command(program, "-DD", "-E", "-f", config, "-Y", dir, "-P", dir+"/pid", "-w", dir, "-m", "32", "-M", "4"))
	Eventually(t, time.Minute, "the presence server accepts connections", func() bool { return listening(s.Port) })
	return s
}

// URI is where to send requests to it, over "udp" or "tcp".
func (s *PresenceServer) URI(transport string) string {
	return fmt.Sprintf("sip:127.0.0.1:%d;transport=%s", s.Port, transport)
}
