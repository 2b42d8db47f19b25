package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"
)

const canary = "c4n4ry-hunter2"

// T-AD-02: nothing that prints a configuration prints its secrets.
func TestSecretIsRedacted(t *testing.T) {
	c := &Config{XMPP: XMPP{Components: []Component{{Name: "prosody", Secret: NewSecret(canary)}}}}
	var log bytes.Buffer
	l := zerolog.New(&log)
	l.Info().Interface("config", c).Any("secret", c.XMPP.Components[0].Secret).Stringer("s", c.XMPP.Components[0].Secret).Send()
	inJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	inYAML, err := yaml.Marshal(c.XMPP.Components[0].Secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text string }{
		{"%v", fmt.Sprintf("%v", c)},
		{"%+v", fmt.Sprintf("%+v", *c)},
		{"%#v", fmt.Sprintf("%#v", c.XMPP.Components[0])},
		{"%s %q %x %d", fmt.Sprintf("%s %[1]q %[1]x %[1]d", c.XMPP.Components[0].Secret)},
		{"zerolog", log.String()},
		{"JSON", string(inJSON)},
		{"YAML", string(inYAML)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.text, canary) || strings.Contains(c.text, fmt.Sprintf("%x", canary)) {
				t.Errorf("the secret is printed: %s", c.text)
			}
			if !strings.Contains(c.text, "[redacted]") {
				t.Errorf("[redacted] is not there: %s", c.text)
			}
		})
	}
	if NewSecret(canary).Reveal() != canary || (Secret{}).IsZero() == NewSecret(canary).IsZero() {
		t.Error("the secret itself is lost")
	}
}

// T-AD-02: a secret that was put in a wrong place is not repeated in a fault.
func TestSecretIsInNoFault(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"inline", "xmpp: {components: [{secret: " + canary + "}]}"},
		{"inline password", "xmpp: {components: [{password: '" + canary + "'}]}"},
		{"for a variable", "xmpp: {components: [{secret_env: '" + canary + "'}]}"},
		{"broken quotes", "xmpp: {components: [{secret: \"" + canary + "\\q\"}]}"},
		{"as an alias", "xmpp: {components: [{secret: *" + canary + "}]}"},
		{"as a tag", "xmpp: {components: [{secret: !!" + canary + " x}]}"},
		{"as a directive", "%" + canary + "\n---\na: b"},
		{"in a URL of the store", "store: {cluster: {urls: ['tls://isthmus:" + canary + "@nats.example.net:4222']}}"},
		{"a token in a URL of the store", "store: {cluster: {urls: ['tls://" + canary + "@nats.example.net:4222']}}"},
		{"before a node", "store: {cluster: {nodes: [{name: a, address: 'isthmus:" + canary + "@192.0.2.1:6222'}]}}"},
		{"before where it listens", "store: {cluster: {listen: 'isthmus:" + canary + "@192.0.2.1:6222'}}"},
		{"in a next hop", "routes: [{domain: example.net, via: sip, next_hops: ['sip:isthmus:" + canary + "@192.0.2.1']}]"},
		{"before an XMPP server", "xmpp: {components: [{server: 'isthmus:" + canary + "@192.0.2.1:5347'}]}"},
		{"in the URI of a user", "sip: {peers: [{users: [{address: 'sip:romeo:" + canary + "@example.net'}]}]}"},
		{"before a DNS server", "dns: {servers: ['tls://isthmus:" + canary + "@192.0.2.1']}"},
		{"before a listener", "sip: {listeners: [{transport: udp, address: 'isthmus:" + canary + "@127.0.0.1:5060'}]}"},
		{"before an advertised name", "sip: {advertise: 'isthmus:" + canary + "@example.net'}"},
		{"before a domain", "routes: [{domain: 'isthmus:" + canary + "@example.net', via: sip}]"},
		{"before the administration port", "admin: {listen: 'tcp:isthmus:" + canary + "@127.0.0.1:9090'}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.text))
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestReadSecrets(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(folder, name), mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	write("good", canary+"\n", 0o600)
	write("dos", canary+"\r\n", 0o400)
	write("bare", canary, 0o600)
	write("group", canary, 0o640)
	write("world", canary, 0o604)
	write("empty", "\n", 0o600)
	write("lines", canary+"\n"+canary+"\n", 0o600)
	write("long", strings.Repeat("x", maxSecret+1), 0o600)
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := environment("SET", canary, "EMPTY", "", "LINES", canary+"\n"+canary)
	for _, c := range []struct{ name, file, variable, fault string }{
		{"file", "good", "", ""},
		{"file with CR LF", "dos", "", ""},
		{"file without a line break", "bare", "", ""},
		{"absolute path", filepath.Join(folder, "good"), "", ""},
		{"group may read", "group", "", "has mode 0640: others than its owner may use it; run chmod 600 on it"},
		{"world may read", "world", "", "has mode 0604: others than its owner may use it; run chmod 600 on it"},
		{"missing file", "none", "", "does not exist; create it for that user with mode 0600, the secret in it"},
		{"empty file", "empty", "", "is empty; put the secret into it"},
		{"two lines", "lines", "", "has more than one line; put the secret alone into it, on one line"},
		{"too long", "long", "", "is longer than 64KiB; put the secret alone into it"},
		{"a folder", ".", "", "is no regular file; name a file that holds the secret"},
		{"a pipe that nobody writes to", "pipe", "", "is no regular file; name a file that holds the secret"},
		{"variable", "", "SET", ""},
		{"unset variable", "", "UNSET", "is not set; set it in the environment of isthmus, or use secret_file"},
		{"empty variable", "", "EMPTY", "is empty; put the secret into it"},
		{"variable of two lines", "", "LINES", "has more than one line; put the secret alone into it, on one line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := &Config{XMPP: XMPP{Components: []Component{{SecretFile: Path(c.file), SecretEnv: EnvName(c.variable)}}}}
			err := cfg.ReadSecrets(folder, env)
			switch {
			case c.fault == "" && (err != nil || cfg.XMPP.Components[0].Secret.Reveal() != canary):
				t.Errorf("secret = %q, error = %v", cfg.XMPP.Components[0].Secret.Reveal(), err)
			case c.fault != "" && (err == nil || !strings.HasSuffix(err.Error(), c.fault)):
				t.Errorf("error = %v, want …%s", err, c.fault)
			case err != nil && strings.Contains(err.Error(), canary):
				t.Errorf("the fault holds the secret: %v", err)
			}
		})
	}
}
