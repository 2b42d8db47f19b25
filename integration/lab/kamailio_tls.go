package lab

import (
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/isthmus-gateway/isthmus/internal/certs/certstest"
)

// KamailioTLS is a Kamailio that speaks UDP with its users and TLS with the gateway, and demands a certificate on both sides.
type KamailioTLS struct {
	// UDP is where its users reach it, TLS where the gateway does, on loopback. Gateway is the gateway's TLS port, Agent the user
	// agent's UDP port.
	UDP, TLS, Gateway, Agent int
	// Identity is what it shows, to the gateway in either role, and Trust whom it believes.
	Identity *certstest.Leaf
	Trust    *certstest.CA
}

const kamailioTLSConfig = `#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
enable_tls=yes
listen=udp:127.0.0.1:UDPPORT
listen=tls:127.0.0.1:TLSPORT
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "tls.so"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
modparam("tls", "config", "TLSFILE")
modparam("tm", "fr_timer", 10000)
request_route {
	if (!mf_process_maxfwd_header("10")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	if ($rd == "example.com") {
		$du = "sip:127.0.0.1:GATEWAY;transport=tls";
	} else if ($rd == "example.net") {
		$du = "sip:127.0.0.1:AGENT;transport=udp";
	} else {
		sl_send_reply("404", "Unknown Domain");
		exit;
	}
	t_relay();
}
`

const kamailioTLSProfiles = `[server:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
certificate = CHAIN
private_key = KEY
ca_list = ROOT
[client:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
certificate = CHAIN
private_key = KEY
ca_list = ROOT
server_name = example.com
`

// StartKamailioTLS starts it.
func StartKamailioTLS(t testing.TB, k KamailioTLS) {
	t.Helper()
	program := need(t, "kamailio", "/usr/sbin/kamailio")
	dir := t.TempDir()
	f := k.Identity.WriteFiles(dir)
	profiles := write(t, dir, "tls.cfg", expand(kamailioTLSProfiles, "CHAIN", f.Chain, "KEY", f.Key, "ROOT", k.Trust.WriteRoot(dir)))
	config := write(t, dir, "kamailio.cfg", expand(kamailioTLSConfig, "UDPPORT", strconv.Itoa(k.UDP), "TLSPORT", strconv.Itoa(k.TLS),
		"GATEWAY", strconv.Itoa(k.Gateway), "AGENT", strconv.Itoa(k.Agent), "TLSFILE", profiles))
	start(t, dir, "kamailio", exec.Command(program, "-DD", "-E", "-f", config, "-Y", dir, "-P", dir+"/pid", "-w", dir, "-m", "64", "-M", "8"))
	Eventually(t, time.Minute, "Kamailio accepts connections", func() bool { return listening(k.TLS) })
}
