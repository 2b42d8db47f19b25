package lab

import (
	"fmt"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Kamailio is a Kamailio that is the proxy of the SIP domain example.net: what is for example.net goes to a user agent, what
// is for example.com goes to the gateway, and it stays in the route of dialogs. One process reads its UDP socket: two overtake each
// other, and SIPp expects an answer before the NOTIFY that was sent after it.
type Kamailio struct {
	Port int
}

const kamailioConfig = `#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=1
tcp_children=1
auto_aliases=no
listen=udp:127.0.0.1:PORT
listen=tcp:127.0.0.1:PORT
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
request_route {
	if (!mf_process_maxfwd_header("10")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	if (has_totag()) {
		if (!loose_route()) {
			sl_send_reply("404", "Not Here");
			exit;
		}
		t_relay();
		exit;
	}
	if (is_method("SUBSCRIBE")) {
		record_route();
	}
	if ($rd == "example.com") {
		$du = "sip:127.0.0.1:GATEWAY;transport=udp";
	} else if ($rd == "example.net") {
		$du = "sip:127.0.0.1:AGENT;transport=udp";
	} else {
		sl_send_reply("404", "Unknown Domain");
		exit;
	}
	t_relay();
}
`

// StartKamailio starts a Kamailio between a gateway and a user agent, both on ports of loopback.
func StartKamailio(t testing.TB, gateway, agent int) *Kamailio {
	t.Helper()
	program := need(t, "kamailio", "/usr/sbin/kamailio")
	k := &Kamailio{Port: FreePorts(t, 1)[0]}
	dir := t.TempDir()
	config := write(t, dir, "kamailio.cfg", expand(kamailioConfig,
		"PORT", strconv.Itoa(k.Port), "GATEWAY", strconv.Itoa(gateway), "AGENT", strconv.Itoa(agent)))
	start(t, dir, "kamailio", exec.Command(program, "-DD", "-E", "-f", config, "-Y", dir, "-P", dir+"/pid", "-w", dir, "-m", "32", "-M", "4"))
	Eventually(t, time.Minute, "Kamailio accepts connections", func() bool { return listening(k.Port) })
	return k
}

// URI is where to send requests to it.
func (k *Kamailio) URI() string { return fmt.Sprintf("sip:127.0.0.1:%d;transport=udp", k.Port) }
