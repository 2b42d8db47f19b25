package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isthmus-gateway/isthmus/configs"
)

// outcome is what a command line did.
type outcome struct {
	code     int
	out, err string
}

// isthmus runs a command line in this process, with input on standard input and the pairs of the environment.
func isthmus(t *testing.T, input string, env map[string]string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, process{
		in: strings.NewReader(input), out: &out, err: &errs,
		environment: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		signals:     func() (<-chan os.Signal, func()) { return make(chan os.Signal), func() {} },
	})
	return outcome{code, out.String(), errs.String()}
}

func TestExitCodes(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("sip: {lisetners: []}\nlog: {level: loud}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := map[string]string{"ISTHMUS_PROSODY_SECRET": "s3cret"}
	for _, c := range []struct {
		name string
		args []string
		code int
		out  string // is in standard output
		err  string // is in standard error
	}{
		{"help", []string{"--help"}, 0, "Usage: isthmus", ""},
		{"help of a command", []string{"inspect", "--help"}, 0, "--lenient", ""},
		{"no command", nil, 2, "", "expected one of"},
		{"unknown command", []string{"frobnicate"}, 2, "", "unexpected argument frobnicate"},
		{"unknown flag", []string{"version", "--frob"}, 2, "", "unknown flag --frob"},
		{"missing flag", []string{"check"}, 2, "", "--config"},
		{"version", []string{"version"}, 0, "isthmus ", ""},
		{"version as JSON", []string{"version", "--json"}, 0, `"go":"go1.`, ""},
		{"config", []string{"config"}, 0, configs.Reference(), ""},
		{"check", []string{"check", "-c", "../../configs/two-domains.yaml"}, 0, "may send     sip peer example-net-proxy, from 127.0.0.1/32: as anyone at example.net, to anyone at example.com\n", ""},
		{"check as JSON", []string{"check", "--json", "-c", "../../configs/two-domains.yaml"}, 0, `{"what":"result","ok":true,`, ""},
		{"check of nothing", []string{"check", "-c", "none.yaml"}, 2, "", "none.yaml"},
		{"check of a wrong one", []string{"check", "-c", wrong}, 2, "", "wrong.yaml:1:7: sip: unknown key \"lisetners\"; did you mean listeners?\n"},
		{"check tells all faults", []string{"check", "-c", wrong}, 2, "", "wrong.yaml:2:14: log.level"},
		{"check of a wrong one as JSON", []string{"check", "--json", "-c", wrong}, 2, `{"what":"fault","ok":false,"name":"log.level","detail":`, "wrong.yaml:2:14: log.level"},
		{"the result of a wrong one as JSON", []string{"check", "--json", "-c", wrong}, 2, `{"what":"result","ok":false,`, ""},
		{"check of nothing as JSON", []string{"check", "--json", "-c", "none.yaml"}, 2, `{"what":"result","ok":false,`, "none.yaml"},
		{"resolve of no address", []string{"resolve", "romeo"}, 2, "", "no address to resolve"},
		{"resolve by no server", []string{"resolve", "--server", "x", "im:romeo@example.net"}, 2, "", "--server"},
		{"resolve with no network", []string{"resolve", "--allow", "x", "im:romeo@example.net"}, 2, "", "--allow"},
		{"resolve of what is never asked", []string{"resolve", "--json", "--server", "127.0.0.1:1", "im:romeo@example.invalid"}, 1, `"failure"`, "isthmus: "},
		{"inspect of no kind", []string{"inspect", "--as", "html"}, 2, "", "--as"},
		{"inspect of no file", []string{"inspect", "none.xml"}, 2, "", "none.xml"},
		{"inspect lines of documents", []string{"inspect", "--lines", "--as", "pidf"}, 2, "", "--lines"},
		{"inspect of nothing", []string{"inspect"}, 2, "", "say --as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := isthmus(t, "", secret, c.args...)
			if got.code != c.code || !strings.Contains(got.out, c.out) || !strings.Contains(got.err, c.err) {
				t.Errorf("exit code %d, want %d\nstandard output: %.2000s\nstandard error: %.2000s", got.code, c.code, got.out, got.err)
			}
		})
	}
}

// T-AD-02: check shows everything of a configuration but its secrets, and no fault repeats one.
func TestCheckShowsNoSecret_T_AD_02(t *testing.T) {
	const canary = "c4n4ry"
	folder := t.TempDir()
	file := filepath.Join(folder, "c.yaml")
	for _, c := range []struct{ name, line string }{
		{"in the environment", "secret_env: SECRET"},
		{"in a file", "secret_file: secret"},
		{"in a file that all may read", "secret_file: open"},
		{"inline", "secret: " + canary},
		{"in place of the variable", "secret_env: '" + canary + "!'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := os.ReadFile("../../configs/two-domains.yaml")
			if err != nil {
				t.Fatal(err)
			}
			for name, mode := range map[string]os.FileMode{"secret": 0o600, "open": 0o644} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(canary), mode); err != nil {
					t.Fatal(err)
				}
			}
			text = bytes.Replace(text, []byte("secret_env: ISTHMUS_PROSODY_SECRET"), []byte(c.line), 1)
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			got := isthmus(t, "", map[string]string{"SECRET": canary}, "check", "--json", "-c", file)
			if strings.Contains(got.out+got.err, canary) {
				t.Errorf("the secret is shown: %s%s", got.out, got.err)
			}
		})
	}
}

// check looks names up, and a name that does not exist is a fault of the peer, not of the configuration.
func TestCheckNames(t *testing.T) {
	text, err := os.ReadFile("../../configs/two-domains.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	for _, c := range []struct {
		name, hop, server, extra, out string
		code                          int
	}{
		{"a next hop", "localhost", "127.0.0.1", "dns: {allow: [127.0.0.0/8]}\n", "tcp 127.0.0.1:5070", 0},
		// The file gives 127.0.0.1 itself, which allows that address and no other of the host's.
		{"a next hop at an address of the file", "localhost", "127.0.0.1", "", "tcp 127.0.0.1:5070", 0},
		{"a next hop that does not exist", "nobody.invalid", "127.0.0.1", "", "1 name cannot be looked up", 1},
		// A host may have two addresses, in either order.
		{"a server", "127.0.0.1", "localhost", "", "name         localhost:5347: *127.0.0.1:5347", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := bytes.Replace(text, []byte("sip:127.0.0.1:5070;transport=udp"), []byte("sip:"+c.hop+":5070;transport=tcp"), 1)
			changed = bytes.Replace(changed, []byte("server: 127.0.0.1:5347"), []byte("server: "+c.server+":5347"), 1)
			changed = append(changed, c.extra...)
			if err := os.WriteFile(file, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			got := isthmus(t, "", map[string]string{"ISTHMUS_PROSODY_SECRET": "x"}, "check", "-c", file)
			before, after, _ := strings.Cut(c.out, "*")
			_, line, found := strings.Cut(got.out, before)
			line, _, _ = strings.Cut(line, "\n")
			if got.code != c.code || !found || !strings.Contains(line, after) {
				t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
		})
	}
}

// A panic that is not the command line's own end is not swallowed.
func TestRunDoesNotHideFaults(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the panic was swallowed")
		}
	}()
	run(context.Background(), []string{"config"}, process{out: panics{}, err: panics{}})
}

type panics struct{}

func (panics) Write([]byte) (int, error) { panic("a defect") }

// Each line that check and inspect print with --json or --lines is one JSON object.
func jsonLines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(text) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, o)
	}
	return lines
}

func TestCheckJSON(t *testing.T) {
	got := isthmus(t, "", map[string]string{"ISTHMUS_PROSODY_SECRET": "x"}, "check", "--json", "-c", "../../configs/two-domains.yaml")
	var kinds []string
	for _, o := range jsonLines(t, got.out) {
		kinds = append(kinds, o["what"].(string))
	}
	if want := "listener listener sender sender route route admin rule result"; strings.Join(kinds, " ") != want {
		t.Errorf("findings: %v, want %s", kinds, want)
	}
}
