package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PresenceLists is a Kamailio that is a SIP domain with presence: a registrar whose registrations are published by pua and pua_usrloc, a
// presence server that asks the rules of its users (RFC 5025), and a resource list server (RFC 4662) that watches the members of a list
// itself, through pua. Its tables are text files, which it writes at once.
type PresenceLists struct {
	Port int

	dir     string
	config  string
	process *process
	written time.Time // the modification time that the table of documents was given last
}

const presenceListsConfig = `#!KAMAILIO
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
loadmodule "ctl.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "db_text.so"
loadmodule "presence.so"
loadmodule "presence_xml.so"
loadmodule "pua.so"
loadmodule "pua_usrloc.so"
loadmodule "rls.so"
modparam("ctl", "binrpc", "unix:DIR/ctl")
modparam("db_text", "db_mode", 1)
modparam("registrar", "min_expires", 1)
modparam("presence", "db_url", "text://DIR/tables")
modparam("presence", "server_address", "sip:127.0.0.1:PORT")
modparam("presence", "min_expires", 1)
modparam("presence", "max_expires", EXPIRES)
modparam("presence", "subs_db_mode", 1)
modparam("presence", "db_update_period", 1)
modparam("presence", "publ_cache", 0)
modparam("presence", "notifier_processes", 0)
modparam("presence_xml", "db_url", "text://DIR/tables")
modparam("presence_xml", "force_active", 0)
modparam("presence_xml", "integrated_xcap_server", 1)
modparam("pua", "db_url", "text://DIR/tables")
modparam("pua", "outbound_proxy", "sip:127.0.0.1:PORT")
modparam("pua", "min_expires", 1)
modparam("pua", "update_period", 6)
modparam("pua_usrloc", "default_domain", "example.net")
modparam("pua_usrloc", "entity_prefix", "pres")
modparam("rls", "db_url", "text://DIR/tables")
modparam("rls", "integrated_xcap_server", 1)
modparam("rls", "to_presence_code", 10)
modparam("rls", "outbound_proxy", "sip:127.0.0.1:GATEWAY;transport=udp")
modparam("rls", "server_address", "sip:rls@127.0.0.1:PORT")
modparam("rls", "waitn_time", 1)
modparam("rls", "max_expires", 3600)
request_route {
	if (!mf_process_maxfwd_header("10")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	if (is_method("REGISTER")) {
		pua_set_publish();
		save("location");
		exit;
	}
	t_newtran();
	if (is_method("PUBLISH")) {
		handle_publish();
	} else if (is_method("SUBSCRIBE")) {
		$var(list) = rls_handle_subscribe();
		if ($var(list) == 10) {
			handle_subscribe();
		}
	} else if (is_method("NOTIFY")) {
		rls_handle_notify();
	} else {
		t_reply("404", "Not Here");
	}
	t_release();
}
`

// PresenceListsConfig is what a scenario chooses of it.
type PresenceListsConfig struct {
	// Gateway is the SIP port of the gateway, to which its own watches go.
	Gateway int
	// Expires is how long it lets others watch at most, in seconds; 0 for an hour.
	Expires int
	// Members are who is in the list sip:friends@example.net, which belongs to Romeo.
	Members []string
}

// Rule is what a user of the server says about those who want to watch (RFC 5025): "allow" or "block". Nobody said anything otherwise, and
// who asks stays pending.
type Rule struct{ User, Watcher, Action string }

// Types of documents in the table that an XCAP server would fill.
const (
	presRules   = 2
	rlsServices = 8
)

// StartPresenceLists starts one.
func StartPresenceLists(t testing.TB, c PresenceListsConfig) *PresenceLists {
	t.Helper()
	need(t, "kamailio", "/usr/sbin/kamailio")
	k := &PresenceLists{Port: FreePorts(t, 1)[0], dir: t.TempDir()}
	if c.Expires == 0 {
		c.Expires = 3600
	}
	for _, table := range []string{"presentity", "active_watchers", "watchers", "xcap", "pua", "rls_presentity", "rls_watchers", "version"} {
		k.empty(t, table)
	}
	var members strings.Builder
	for _, m := range c.Members {
		fmt.Fprintf(&members, `<entry uri="%s"/>`, m)
	}
	k.document(t, "romeo", rlsServices, `<?xml version="1.0" encoding="UTF-8"?><rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">`+
		`<service uri="sip:friends@example.net"><list name="friends">`+members.String()+`</list><packages><package>presence</package></packages></service></rls-services>`)
	k.config = write(t, k.dir, "kamailio.cfg", expand(presenceListsConfig, "PORT", strconv.Itoa(k.Port), "GATEWAY", strconv.Itoa(c.Gateway),
		"DIR", k.dir, "EXPIRES", strconv.Itoa(c.Expires)))
	k.Start(t)
	return k
}

// empty gives it an empty table.
func (k *PresenceLists) empty(t testing.TB, table string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/usr/share/kamailio/dbtext/kamailio", table))
	if err != nil {
		t.Fatal(err)
	}
	// COMPAT(Kamailio, 5.6): pua writes rows without an entity-tag into a table of Debian's that does not allow it, and cannot start with them.
	write(t, k.dir, filepath.Join("tables", table), strings.ReplaceAll(string(b), "(string)", "(string,null)"))
}

// document puts a document of a user into the table, as an XCAP server would.
func (k *PresenceLists) document(t testing.TB, user string, kind int, text string) {
	t.Helper()
	path := filepath.Join(k.dir, "tables", "xcap")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := slices.DeleteFunc(strings.SplitAfter(string(b), "\n"), func(row string) bool {
		fields := strings.Split(row, ":")
		return len(fields) > 5 && fields[1] == user && strings.Contains(row, fmt.Sprintf(":%d:x:0:", kind))
	})
	row := fmt.Sprintf("%d:%s:example.net:%s:%d:x:0:index:0\n", len(rows), user, strings.ReplaceAll(text, ":", `\:`), kind)
	write(t, k.dir, filepath.Join("tables", "xcap"), strings.Join(rows, "")+row)
	// COMPAT(Kamailio, 5.6): db_text reads a table again when its file has become newer by whole seconds, so a second document of the same second
	// would never be seen. Each is given a second of its own.
	k.written = latest(k.written, time.Now()).Add(2 * time.Second)
	if err := os.Chtimes(path, k.written, k.written); err != nil {
		t.Fatal(err)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Rules gives users their rules, and has it ask them again for who watches.
func (k *PresenceLists) Rules(t testing.TB, rules ...Rule) {
	t.Helper()
	for _, r := range rules {
		k.document(t, r.User, presRules, `<?xml version="1.0" encoding="UTF-8"?><ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">`+
			`<rule id="one"><conditions><identity><one id="`+r.Watcher+`"/></identity></conditions><actions><pr:sub-handling>`+r.Action+`</pr:sub-handling></actions>`+
			`<transformations><pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons>`+
			`<pr:provide-all-attributes/></transformations></rule></ruleset>`)
		if k.process != nil {
			k.Command(t, "presence.refreshWatchers", "sip:"+r.User+"@example.net", "presence", "0")
		}
	}
}

// Command gives it a command over its control socket, and returns the answer.
func (k *PresenceLists) Command(t testing.TB, words ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, need(t, "kamcmd", "/usr/sbin/kamcmd"), append([]string{"-s", "unix:" + k.dir + "/ctl"}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("kamcmd %v: %v\n%s", words, err, out)
	}
	return string(out)
}

// Start starts it, again with what its tables have.
func (k *PresenceLists) Start(t testing.TB) {
	t.Helper()
	k.process = start(t, k.dir, "kamailio", exec.Command(need(t, "kamailio", "/usr/sbin/kamailio"),
		"-DD", "-E", "-f", k.config, "-Y", k.dir, "-P", k.dir+"/pid", "-w", k.dir, "-m", "32", "-M", "4"))
	Eventually(t, time.Minute, "the presence server accepts connections", func() bool { return listening(k.Port) })
}

// Stop ends it as an operator does: it writes its tables.
func (k *PresenceLists) Stop(t testing.TB) { k.process.stop(t, time.Minute) }

// Forget ends it as kill -9 does, and takes away everything it knows of who watches and who is there.
func (k *PresenceLists) Forget(t testing.TB) {
	t.Helper()
	k.process.kill()
	for _, table := range []string{"presentity", "active_watchers", "watchers", "pua", "rls_presentity", "rls_watchers"} {
		k.empty(t, table)
	}
}

// Table returns one of its tables as text.
func (k *PresenceLists) Table(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(k.dir, "tables", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// URI is where to send requests to it.
func (k *PresenceLists) URI() string { return fmt.Sprintf("sip:127.0.0.1:%d;transport=udp", k.Port) }
